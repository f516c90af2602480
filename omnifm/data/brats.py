"""Brain tumours in several MR sequences, as BraTS and FeTS publish them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from omnifm.data.brats_case import BRATS_SEQUENCES, Case, find_case, read_case
from omnifm.data.cache.prepared_rows import ItemRows, prepared_once
from omnifm.data.limits import MOST_VOXELS, check_extent
from omnifm.data.reading.files import subfolders
from omnifm.data.regions import TUMOUR, regions_of, warn_of_empty
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.data.tables import read_table
from omnifm.data.volumes import between, cropped, shrunk_volume
from omnifm.utils.errors import DataError
from omnifm.utils.settings import Count, CountOrZero, OneOf, Positive, Some, settings
from omnifm.utils.words import joined

_log = logging.getLogger("omnifm")
_EMPTY = "its mask is empty"
SLABS = (0.6, 0.8)
"""Where ``split = "slabs"`` cuts the slices of a case: up to which share they are for training, for validation."""


@settings
class BratsSource:
    """Cases at ``<root>/<folder>/<case>/``, named as BraTS, FeTS or the BraTS Toolkit name them (see docs/data.md).

    ``sequences`` are the channels of an image, in this order; with ``per_sequence`` every image has one of them, which
    is its modality: the sequences share out the cases, so that no patient is at two hospitals. ``regions`` are those of
    the tumour to find. ``axes = 2`` takes ``slices`` axial slices of a case, evenly over the height of its tumour (of
    the brain, if it shows none); ``axes = 3`` the volume. Brains are centred in a square or cube of ``field_of_view``
    mm, which becomes ``data.size`` pixels a side. ``institutions`` is FeTS's ``partitioning_1.csv``, below the folder:
    it says whose each case is; without it all are ``name``'s (or the folder's). ``limit`` takes at most that many
    cases, evenly spaced (0: all). ``split = "slabs"`` is for sets of a case or two, too few to be divided by patient:
    the last of several is for test, the others' lower slices for training and upper ones for validation (of a single
    case the lower 60 % train, the next 20 % validate, the top ones test).
    """

    folder: str = "brats"
    kind: Literal["brats"] = "brats"
    sequences: Some[Annotated[str, OneOf(BRATS_SEQUENCES)]] = tuple(BRATS_SEQUENCES)
    regions: Some[Annotated[str, OneOf(TUMOUR)]] = tuple(TUMOUR)
    per_sequence: bool = False
    axes: Literal[2, 3] = 2
    slices: Count = 8
    field_of_view: Positive = 192.0
    institutions: str = ""
    split: Literal["patients", "slabs"] = "patients"
    limit: CountOrZero = 0
    name: str = ""

    def __post_init__(self) -> None:
        if self.split == "slabs" and (self.axes == 3 or self.slices < 5):
            raise ValueError("split = 'slabs' needs axes = 2 and at least 5 slices a case")

    def load(self, loading: Loading) -> SourceTable:
        """Read every case."""
        folder = loading.root / self.folder
        owners = self._owners(folder, loading)
        names = list(owners)
        owners = {names[index]: owners[names[index]] for index in evenly_spaced(len(names), self.limit)}
        cases = {name: find_case(folder / name, self._wanted(number)) for number, name in enumerate(owners)}
        names = list(cases)

        def make(number: int) -> Iterator[ItemRows]:
            case = read_case(cases[names[number]])
            cube = [round(self.field_of_view / step) for step in case.spacing]
            remedy = f"Its spacing is {' x '.join(f'{step:.3g}' for step in case.spacing)} mm: lower field_of_view."
            check_extent(folder / names[number], cube, MOST_VOXELS, "voxels in its field of view", remedy)
            image, mask = self._grids(case, loading)
            yield ItemRows({"image": image, "mask": mask}, "" if case.codes.any() else _EMPTY)

        prepared = prepared_once(loading, self, [tuple(files.values()) for files in cases.values()], make)
        warn_of_empty([names[number] for number, note in prepared.notes if note == _EMPTY], "tumour")
        splits, modalities, patients = list[str](), list[str](), list[str]()
        for number, (name, count) in enumerate(zip(names, prepared.counts, strict=True)):
            wanted = self._wanted(number)
            splits += self._splits(count, last=number == len(names) - 1, only=len(names) == 1)
            modalities += [BRATS_SEQUENCES[wanted[0]] if len(wanted) == 1 else "MRI"] * count
            patients += [f"{owners[name]}/{name}"] * count
        spacing = torch.tensor([[self.field_of_view / loading.size] * self.axes] * len(patients), dtype=torch.float32)
        return SourceTable(
            fields={**prepared.fields, "spacing": spacing},
            label_names=self.regions,
            patients=tuple(patients),
            modalities=tuple(modalities),
            institutions=tuple(patient.rpartition("/")[0] for patient in patients),
            split=tuple(splits) if self.split == "slabs" else None,
        )

    def _wanted(self, number: int) -> tuple[str, ...]:
        """Return the sequences of the case of this number."""
        return (self.sequences[number % len(self.sequences)],) if self.per_sequence else self.sequences

    def _grids(self, case: Case, loading: Loading) -> tuple[Tensor, Tensor]:
        """Return the rows of a case: images ``(rows, channels, *size)`` and masks ``(rows, regions, *size)``."""
        regions = torch.from_numpy(regions_of(case.codes, [TUMOUR[name] for name in self.regions]))
        planes = cropped(torch.cat([case.images, regions.float()]), case.spacing, self.field_of_view)
        if self.axes == 2:
            planes = planes[:, _heights(planes, len(case.images), self.slices)].transpose(0, 1)
        else:
            planes = planes[None]
        planes = shrunk_volume(planes, loading.size)
        image, mask = planes[:, : len(case.images)], planes[:, len(case.images) :] >= 0.5
        if image.shape[1] == 1:
            image = image.expand(-1, loading.channels, *[-1] * self.axes)
        return image.clamp(0, 1), mask.to(torch.uint8)

    def _owners(self, folder: Path, loading: Loading) -> dict[str, str]:
        """Return the institution of each case, by the case's name."""
        if not folder.is_dir():
            raise DataError(
                f"{folder}: no such folder. Put the cases there as <case>/<case>_t1.nii.gz, or correct folder."
            )
        cases = subfolders(folder)
        if not cases:
            raise DataError(f"{folder}: holds no cases. Put them there as <case>/<case>_t1.nii.gz.")
        name = self.name or folder.name
        if not self.institutions:
            return dict.fromkeys(cases, name)
        loading.note(folder / self.institutions)
        table = _table(folder / self.institutions)
        for case in table:
            if case not in cases:
                raise DataError(f"{folder / self.institutions}: names case {case!r}, of which there is no folder.")
        if others := [case for case in cases if case not in table]:
            _log.warning(
                "%d cases (such as %s) are in no line of %s: left out.", len(others), others[0], self.institutions
            )
        return {case: f"{name}-{table[case]}" for case in cases if case in table}

    def _splits(self, count: int, *, last: bool, only: bool) -> list[str]:
        """Return the split of each slice of a case, from below to above."""
        if last and not only:
            return ["test"] * count
        train, validation = (round(share * count) for share in (SLABS if only else (SLABS[1], 1.0)))
        return ["train"] * train + ["validation"] * (validation - train) + ["test"] * (count - validation)


def _table(path: Path) -> dict[str, str]:
    """Return the institution of each case that FeTS's table names."""
    table = read_table(path, ("Partition_ID", "Subject_ID"))
    for row, cells in table[["Subject_ID", "Partition_ID"]].iterrows():
        if not all(cells):
            raise DataError(f"{path}, row {row}: lacks its Subject_ID or Partition_ID. Fill it in, or remove the row.")
    twice = table[table["Subject_ID"].duplicated(keep=False)]
    if len(twice):
        case = twice["Subject_ID"].iloc[0]
        rows = joined(str(row) for row in twice.index[twice["Subject_ID"] == case])
        raise DataError(f"{path}: names case {case!r} in rows {rows}. Leave it in one of them.")
    return dict(zip(table["Subject_ID"], table["Partition_ID"], strict=True))


def _heights(planes: Tensor, channels: int, count: int) -> list[int]:
    """Return ``count`` heights evenly over what is to be seen: the regions, or where there are none the images."""
    shown = planes[channels:] if planes[channels:].any() else planes[:channels]
    return between(shown.flatten(2).amax(dim=(0, 2)) > 0, count)
