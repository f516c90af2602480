"""Registered pairs of images of two modalities, as the Whole Brain Atlas pairs are published."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from omnifm.data.cache.prepared_rows import ItemRows, prepared_once
from omnifm.data.colour import to_luminance_and_chroma
from omnifm.data.patients import PatientPattern, patient_in
from omnifm.data.reading.files import IMAGES, images_among, subfolders, warn_of_others
from omnifm.data.reading.intensity import Intensity, IntensityRule
from omnifm.data.source import Loading
from omnifm.data.source_images import SourceImages, recall
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.utils.errors import DataError, did_you_mean
from omnifm.utils.settings import Between, CountOrZero, Distinct, settings

TEST_SPLIT = "test_split.json"


@settings
class ImagePairsSource:
    """Pairs at ``<root>/<folder>/<first>-<second>/<first>/<name>`` and ``.../<second>/<name>``.

    The name of the pair folder (``PET-MRI``) is the modality of its pairs. The first image may be in colour, as PET and
    SPECT are shown; the second must be grey. ``pairs`` names the pair folders to read (empty: all, sorted). ``limit``
    takes at most that many pairs of each split of each folder, evenly spaced over the sorted names (0: all).
    ``patient_pattern`` is a regular expression whose one group, found in the name without its suffix, is the patient;
    empty, each pair is its own. ``name`` is the institution's; empty, it is the folder's. ``intensity`` says how the
    numbers of the images become intensities (without it ``data.intensity`` does).

    Where ``<folder>/test_split.json`` names the test pairs of each pair folder, they are the test split. Of the others,
    in the order of their numbers, the last ``validation`` are one block for validation: names that follow each other
    are neighbouring slices of one head, which a random split would lay on both sides.

    Fields of the table: ``image`` ``(rows, 2, size, size)``, the first's luminance and the second; ``chroma``
    ``(rows, 2, size, size)``, the first's colour (see ``colour.py``), 0 where it is grey. Both float32.
    """

    folder: str
    kind: Literal["image_pairs"] = "image_pairs"
    pairs: Distinct[str] = ()
    name: str = ""
    limit: CountOrZero = 0
    validation: Between = 0.2
    patient_pattern: PatientPattern = ""
    intensity: Intensity | None = None

    def load(self, loading: Loading) -> SourceTable:
        """Read all pairs."""
        if loading.channels != 1:
            raise DataError(
                f"data.channels = {loading.channels}: pairs are read as two grey images, and colour separately. "
                "Set data.channels = 1."
            )
        folder = loading.root / self.folder
        institution = self.name or folder.name
        published = _test_split(folder / TEST_SPLIT, loading)
        files, readers = list[tuple[Path, Path]](), list[tuple[SourceImages, SourceImages]]()
        rows: list[tuple[str, str, str]] = []
        for pair in self._pairs(folder):
            names = _names(folder / pair)
            both = _readers(pair, loading, self.intensity)
            split = None if published is None else self._split(folder, pair, names, published)
            for name in self._chosen(names, split):
                files.append(_files(folder / pair, name))
                readers.append(both)
                patient = f"{institution}/{pair}/{patient_in(Path(name).stem, self.patient_pattern, folder / pair)}"
                rows.append((patient, pair, "" if split is None else split[name]))

        def make(number: int) -> Iterator[ItemRows]:
            image, chroma = _read_pair(files[number], readers[number])
            yield ItemRows({"image": image, "chroma": chroma}, "/".join(reader.remark for reader in readers[number]))

        prepared = prepared_once(loading, self, files, make)
        for place in (0, 1):
            notes = tuple((number, note.split("/")[place]) for number, note in prepared.notes)
            recall(replace(prepared, notes=notes), [pair[place] for pair in files], [two[place] for two in readers])
        patients, modalities, splits = (tuple(column) for column in zip(*rows, strict=True))
        return SourceTable(
            fields=prepared.fields,
            label_names=(),
            patients=patients,
            modalities=modalities,
            institutions=(institution,) * len(rows),
            split=None if published is None else splits,
        )

    def _pairs(self, folder: Path) -> tuple[str, ...]:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder. Put the pairs there as <first>-<second>/<modality>/<image>.")
        found = [name for name in subfolders(folder) if name.count("-") == 1]
        if not found:
            raise DataError(f"{folder}: has no folder of pairs. Put them there as <first>-<second>/<modality>/<image>.")
        for name in self.pairs:
            if name not in found:
                raise DataError(f"{folder}: has no pairs {name!r}. {did_you_mean(name, found)}")
        return self.pairs or tuple(found)

    def _split(self, folder: Path, pair: str, names: list[str], published: dict[str, list[str]]) -> dict[str, str]:
        """Return the split of each name: test as published, and a last block of the others for validation."""
        file = folder / TEST_SPLIT
        if pair not in published:
            raise DataError(f"{file}: has no entry {pair!r}. Add its test names, or leave it out by naming pairs.")
        lacking = sorted(set(published[pair]) - set(names))
        if lacking:
            raise DataError(
                f"{file}: {pair!r} names {lacking[0]!r} and {len(lacking) - 1} more that are not in {folder / pair}. "
                "Put them there or take them out of the file."
            )
        others = [name for name in names if name not in published[pair]]
        last = max(1, round(self.validation * len(others)))
        return dict.fromkeys(names, "test") | {
            name: "validation" if place >= len(others) - last else "train" for place, name in enumerate(others)
        }

    def _chosen(self, names: list[str], split: dict[str, str] | None) -> list[str]:
        splits = (
            [names] if split is None else [[n for n in names if split[n] == s] for s in sorted(set(split.values()))]
        )
        return [part[index] for part in splits for index in evenly_spaced(len(part), self.limit)]


def _test_split(path: Path, loading: Loading) -> dict[str, list[str]] | None:
    """Return the test names of each pair folder, or None where no split is published."""
    if not path.exists():
        return None
    loading.note(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(pair): [str(name) for name in found[pair]] for pair in found}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read as lists of test names ({error}). It must hold, as JSON, "
            '{"<first>-<second>": ["<name>", ...]}; correct it, or remove it to have a split made.'
        ) from error


def _names(folder: Path) -> list[str]:
    """Return the names that both modalities have, sorted by the numbers in them."""
    first, second = (_images(folder / modality) for modality in folder.name.split("-"))
    for name in sorted(first ^ second):
        here, there = folder.name.split("-") if name in first else folder.name.split("-")[::-1]
        raise DataError(
            f"{folder / here / name}: has no partner {folder / there / name}. Add it or remove the lone image."
        )
    return sorted(first, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def _images(folder: Path) -> set[str]:
    paths, others = images_among(folder.glob("*"), folder)
    if not paths:
        raise DataError(f"{folder}: holds no image ({IMAGES}). Put one of each pair there.")
    warn_of_others(folder, others)
    return {path.name for path in paths}


def _readers(pair: str, loading: Loading, rule: IntensityRule | None) -> tuple[SourceImages, SourceImages]:
    """Return what reads the first of a pair, in colour, and the second."""
    first, second = pair.split("-")
    return SourceImages(replace(loading, channels=3), first, rule), SourceImages(loading, second, rule)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    first, second = (folder / modality / name for modality in folder.name.split("-"))
    return first, second


def _read_pair(paths: tuple[Path, Path], readers: tuple[SourceImages, SourceImages]) -> tuple[Tensor, Tensor]:
    """Return the pair ``(1, 2, size, size)`` and the colour of its first image ``(1, 2, size, size)``."""
    first, second = (reader.read(path) for reader, path in zip(readers, paths, strict=True))
    if first.size != second.size:
        sizes = " and ".join(f"{image.size[1]} x {image.size[0]}" for image in (first, second))
        raise DataError(f"{paths[0]} and {paths[1]}: are {sizes} pixels. Register them on one grid.")
    if not second.is_grey:
        raise DataError(
            f"{paths[1]}: is in colour, but the second of a pair must be grey: the colour of what is fused is the "
            "first's. Save it as grey, or swap the two modalities."
        )
    made = [
        reader.shaped(reader.units(image)[0], colour=image.colour)
        for reader, image in zip(readers, (first, second), strict=True)
    ]
    luminance, chroma = to_luminance_and_chroma(made[0])
    return torch.cat([luminance, made[1]], dim=1), chroma
