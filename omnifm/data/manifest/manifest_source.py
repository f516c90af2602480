"""A table of images as a source: ``kind = "manifest"``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from omnifm.data.cache.prepared_rows import ItemRows, PreparedRows, prepared_once
from omnifm.data.check.examples import Examples
from omnifm.data.columns import Column, Shared, Texts
from omnifm.data.manifest.listed_examples import listed
from omnifm.data.manifest.manifest_columns import ManifestColumns
from omnifm.data.manifest.manifest_images import RowFiles, RowReader
from omnifm.data.manifest.manifest_table import Manifest, parts, paths_in
from omnifm.data.manifest.question_columns import question_columns, question_types
from omnifm.data.mask_regions import Region, names_of
from omnifm.data.reading.intensity import Intensity
from omnifm.data.regions import warn_of_empty
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.utils.errors import DataError
from omnifm.utils.settings import CountOrZero, Text, settings

_EMPTY = "empty"


@settings
class ManifestSource:
    """The images that a table lists, at ``<root>/<table>``; paths in it are seen from its folder.

    ``table`` is the path of the table below ``data.root``. ``columns`` says what the columns of the table are called
    (see :class:`ManifestColumns`). What can be learned follows from them: labels, regions (``mask``), answers to
    questions, fusion (``pair``); of several of these, ``learn`` says which. Without any, ``learn`` is ``image``.

    Masks show ``region``, or with several columns of masks a region each, called by its column. Where they hold labels
    or colours, ``regions`` names these, such as ``[{ name = "tumour", values = [1, 2] }]``. ``threshold`` is the lowest
    value of a region in masks that hold many, as JPEG makes them.

    ``axes = 2`` takes images; ``slices`` is for volumes, and takes so many slices of each, evenly over what the mask or
    the image shows. ``axes = 3`` takes volumes. ``pages`` is what of an image with several pages is taken where
    neither is set. ``intensity`` is the rule by which numbers become [0, 1], if not that of all data.

    ``modality`` is that of rows that do not say. ``name`` is the institution of rows that do not say (empty: the
    table's name). ``limit`` takes at
    most that many rows, evenly spaced (0: all).
    """

    table: Text
    kind: Literal["manifest"] = "manifest"
    columns: ManifestColumns = field(default_factory=ManifestColumns)
    learn: Literal["auto", "label", "mask", "answer", "pair", "image"] = "auto"
    region: Text = "foreground"
    regions: tuple[Region, ...] = ()
    threshold: Annotated[int, Field(ge=0, le=255)] = 0
    axes: Literal[2, 3] = 2
    slices: CountOrZero = 0
    pages: Literal["refuse", "first", "middle"] = "refuse"
    intensity: Intensity | None = None
    modality: str = ""
    name: str = ""
    limit: CountOrZero = 0

    def __post_init__(self) -> None:
        if self.axes == 3 and self.slices:
            raise ValueError(f"slices = {self.slices} takes slices, and axes = 3 volumes: set one of them")
        if self.axes == 3 and self.learn in ("answer", "pair"):
            raise ValueError(f"axes = 3 is for labels, masks and images, and not for learn = {self.learn!r}")
        if self.regions:
            names_of(self.regions)

    @property
    def folder(self) -> str:
        """What tells this source from others below the root."""
        return self.table

    def load(self, loading: Loading) -> SourceTable:
        """Read the table and every image.

        Raises:
            DataError: the table or an image is not usable. `omnifm data check` lists everything at once.
        """
        manifest = self.manifest(loading)
        learned = self.learned(manifest)
        problems = [problem for problem in manifest.problems(learned) if problem.severity == "error"]
        if problems:
            more = f" (and {len(problems) - 1} more: omnifm data check lists all)" if len(problems) > 1 else ""
            raise DataError(f"{problems[0]}{more}")
        self._require_modality(manifest)
        # Of questions about one image, the image is read once.
        shared = learned == "answer"
        rows = (manifest.frame["image"].drop_duplicates() if shared else manifest.frame).index.tolist()
        reader = self._reader(manifest, learned, loading)
        files = [self.files(manifest, row, (learned,)) for row in rows]

        def make(number: int) -> Iterator[ItemRows]:
            fields = self._made(manifest, rows[number], files[number], reader)
            empty = "mask" in fields and not fields["mask"].any()
            yield ItemRows(fields, f"{_EMPTY if empty else ''}/{reader.remark(files[number].modality)}")

        modalities = [one.modality for one in files]
        prepared = prepared_once(loading, self, [one.paths for one in files], make, modalities)
        loading.note(manifest.path)
        self._warn(manifest, rows, files, reader, prepared)
        fields, counts = dict(prepared.fields), list(prepared.counts)
        if shared:
            if max(counts) > 1:
                raise DataError(f"{manifest.path}: questions are asked about images, not about slices. Set slices = 0.")
            numbers = {cell: number for number, cell in enumerate(manifest.frame["image"].loc[rows])}
            index = torch.tensor([numbers[cell] for cell in manifest.frame["image"]])
            image = fields["image"]
            assert not isinstance(image, Texts | Shared)
            fields["image"] = Shared(image, index)
            counts = [1] * len(manifest.frame)
        return self._table(manifest, learned, fields, counts, self._names(manifest, learned))

    def examples(self, loading: Loading) -> Examples:
        """List the rows and their files without reading any image; see :class:`omnifm.data.check.examples.Listing`."""
        manifest = self.manifest(loading)
        learned = self.learned(manifest)
        reader = self._reader(manifest, learned, loading)
        return replace(
            listed(
                manifest,
                (learned,),
                self._names(manifest, learned),
                modality=self.modality,
                institution=self._institution(manifest),
                read=lambda row: reader.read(self.files(manifest, row, (learned,))),
            ),
            blank=self._blank(manifest, learned, loading),
        )

    def everything(self, loading: Loading) -> Examples:
        """List the rows with all files that there are, whatever is learned, to be read without settings of regions."""
        manifest = self.manifest(loading)
        roles = manifest.learnable or ("image",)
        reader = RowReader(loading, pages="slices")
        names = manifest.label_names if "label" in roles else ()
        return listed(manifest, roles, names, read=lambda row: reader.read(self.files(manifest, row, roles)))

    def manifest(self, loading: Loading) -> Manifest:
        """Return the table, or as much of it as ``limit`` takes."""
        if not loading.root.is_dir():
            raise DataError(
                f"{loading.root / self.table}: cannot be read, since there is no folder {loading.root} (data.root) in "
                f"{Path.cwd()}. Run omnifm where that folder is, or correct data.root."
            )
        manifest = Manifest.read(loading.root / self.table, self.columns)
        chosen = evenly_spaced(len(manifest.frame), self.limit)
        return manifest if len(chosen) == len(manifest.frame) else Manifest(manifest.path, manifest.frame.iloc[chosen])

    def learned(self, manifest: Manifest) -> str:
        """Return what is learned.

        Raises:
            DataError: the table lacks it, or it is not known which of several is meant.
        """
        found = manifest.learnable
        if self.learn == "auto":
            if len(found) > 1 and "answer" not in found:
                raise DataError(
                    f"{manifest.path}: has columns of {' and '.join(found)}. Say which is to be learned: learn = "
                    f"{' or '.join(map(repr, found))}."
                )
            return "answer" if "answer" in found else found[0] if found else "image"
        if self.learn not in (*found, "image"):
            raise DataError(
                f"{manifest.path}: learn = {self.learn!r}, but there is no such column. Add it, or set "
                f"columns.{self.learn}."
            )
        return self.learn

    def files(self, manifest: Manifest, row: int, roles: Sequence[str]) -> RowFiles:
        """Return the files of a row, by its number in the table: its image, and those of the roles that are learned."""
        cells, folder = manifest.frame.loc[row], manifest.path.parent
        masks = manifest.columns_of("mask") if "mask" in roles else {}
        pair = paths_in(cells["pair"], folder) if "pair" in roles else []
        return RowFiles(
            images=tuple(paths_in(cells["image"], folder)),
            masks={name: tuple(paths_in(cells[column], folder)) for name, column in masks.items()},
            pair=pair[0] if pair else None,
            modality=cells.get("modality", "") or self.modality,
        )

    def _made(self, manifest: Manifest, row: int, files: RowFiles, reader: RowReader) -> dict[str, Tensor]:
        """Return the fields that are made from the files of a row; raises :class:`DataError` with the row's number."""
        try:
            return reader.prepared(reader.read(files), files.modality)
        except DataError as error:
            raise DataError(f"{manifest.place(row)}: {error}") from error

    def _warn(
        self,
        manifest: Manifest,
        rows: Sequence[int],
        files: Sequence[RowFiles],
        reader: RowReader,
        prepared: PreparedRows,
    ) -> None:
        """Warn of empty masks, and of images that look wrong, whether they were read now or before."""
        notes = {number: note.partition("/") for number, note in prepared.notes}
        if not prepared.fresh:
            for number, one in enumerate(files):
                reader.recall(one, notes[number][2] if number in notes else "")
        reader.warn()
        empty = [manifest.place(rows[number]) for number, note in notes.items() if note[0] == _EMPTY]
        warn_of_empty(empty, " or ".join(self._names(manifest, "mask")))

    def _reader(self, manifest: Manifest, learned: str, loading: Loading) -> RowReader:
        return RowReader(
            loading,
            self.intensity,
            "volume" if self.axes == 3 else "slices" if self.slices else self.pages,
            self.slices,
            self.regions,
            tuple(manifest.columns_of("mask")) if learned == "mask" else (),
            self.threshold,
        )

    def _blank(self, manifest: Manifest, learned: str, loading: Loading) -> SourceTable:
        """Return a table of one row, without what is to be seen in it."""
        first = Manifest(manifest.path, manifest.frame.iloc[:1])
        size, names = (loading.size,) * self.axes, self._names(manifest, learned)
        channels = max(1, len(parts(first.frame["image"].iat[0])))
        fields: dict[str, Column] = {"image": torch.zeros(1, channels if channels > 1 else loading.channels, *size)}
        if learned == "mask":
            fields["mask"] = torch.ones(1, len(names), *size, dtype=torch.uint8)
        if learned == "pair":
            fields = {"image": torch.zeros(1, 2, *size), "chroma": torch.zeros(1, 2, *size)}
        return self._table(first, learned, fields, [1], names)

    def _names(self, manifest: Manifest, learned: str) -> tuple[str, ...]:
        if learned == "mask":
            columns = tuple(manifest.columns_of("mask"))
            return names_of(self.regions) if self.regions else (columns if len(columns) > 1 else (self.region,))
        if learned == "answer":
            return tuple(sorted(set(question_types(manifest))))
        return manifest.label_names if learned == "label" else ()

    def _institution(self, manifest: Manifest) -> str:
        return self.name or manifest.path.stem

    def _require_modality(self, manifest: Manifest) -> None:
        if not self.modality and ("modality" not in manifest.frame or (manifest.frame["modality"] == "").any()):
            raise DataError(
                f"{manifest.path}: some rows do not say their modality. Fill in the column, or set modality for the "
                "source."
            )

    def _table(
        self, manifest: Manifest, learned: str, fields: dict[str, Column], counts: list[int], names: tuple[str, ...]
    ) -> SourceTable:
        frame, institution = manifest.frame, self._institution(manifest)
        repeats = torch.tensor(counts)

        def column(role: str, default: str) -> tuple[str, ...]:
            cells = frame[role].tolist() if role in frame else [""] * len(frame)
            return tuple(cell or default for cell, count in zip(cells, counts, strict=True) for _ in range(count))

        # An image of which nobody says whose it is counts as a patient, with all questions about it.
        cells = frame["patient"] if "patient" in frame else pd.Series("", frame.index)
        patients = cells.where(cells != "", frame["image"])
        if learned == "label":
            fields["label"] = _labels(manifest, names).repeat_interleave(repeats, dim=0)
        if learned == "answer":
            fields |= question_columns(manifest, names)
        return SourceTable(
            fields=fields,
            label_names=names,
            patients=tuple(
                f"{institution}/{patient}"
                for patient, count in zip(patients, counts, strict=True)
                for _ in range(count)
            ),
            modalities=column("modality", self.modality),
            institutions=column("institution", institution),
            split=column("split", "") if "split" in frame and (frame["split"] != "").any() else None,
        )


def _labels(manifest: Manifest, names: tuple[str, ...]) -> Tensor:
    """Return ``(rows,)`` int64 into the names, or ``(rows, names)`` uint8 where an image can have several."""
    number = {name: place for place, name in enumerate(names)}
    if not manifest.several_labels:
        return torch.tensor([number[label] for label in manifest.labels])
    labels = torch.zeros(len(manifest.frame), len(names), dtype=torch.uint8)
    for row, cell in enumerate(manifest.labels):
        labels[row, [number[part] for part in parts(cell)]] = 1
    return labels
