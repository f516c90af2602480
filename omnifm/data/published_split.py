"""Published splits in the folders of a set: ``train``, ``val``, ``test``, above or below its classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from omnifm.data.reading.files import parts_below
from omnifm.data.subset import evenly_spaced
from omnifm.utils.errors import DataError

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What the folders of splits are called, in lower case, and the splits."""


def split_of(name: str) -> str | None:
    """Return the split of a folder by its name, or None."""
    return SPLIT_FOLDERS.get(name.strip().lower())


def split_folders(names: Sequence[str]) -> list[str]:
    """Return which of the folders beside each other are splits: those named so, if one is for training."""
    found = [name for name in names if split_of(name)]
    return found if any(split_of(name) == "train" for name in found) else []


def published_split(paths: Sequence[Path], folder: Path) -> tuple[str, ...] | None:
    """Return the split of each path by the folders above it, below the set's own; None where none is published.

    It is published if folders of training and of another split are there.

    Raises:
        DataError: some paths are in such a folder and others not, or one is in two of them.
    """
    found = []
    for path in paths:
        splits = {split for part in parts_below(path, folder)[:-1] if (split := split_of(part))}
        if len(splits) > 1:
            raise DataError(f"{path}: lies in the folders of two splits ({' and '.join(sorted(splits))}). Move it.")
        found.append(splits.pop() if splits else "")
    if "train" not in found or len(set(found) - {""}) < 2:
        return None
    if "" in found:
        raise DataError(
            f"{paths[found.index('')]}: lies in no folder of a split, but other images in such as 'train'. "
            "Move it into one, or the splits into folders of other names."
        )
    return tuple(found)


class _Patient(Protocol):
    @property
    def rows(self) -> tuple[int, ...]: ...
    @property
    def modalities(self) -> tuple[str, ...]: ...
    @property
    def label(self) -> int: ...


def complete(
    splits: dict[str, list[int]],
    patients: Sequence[_Patient],
    validation: float,
    test: float,
    draw: np.random.Generator,
) -> None:
    """Take validation or test, where a published split has none, from patients who are for training alone.

    They are drawn evenly over modalities and classes; at least one patient is left for training.

    Args:
        splits: the rows of one client by split; changed in place.
        patients: those whose split is published.
        validation: the fraction of them that is taken for validation.
        test: the same for test.
        draw: who is taken.
    """
    for lacking, fraction in (("test", test), ("validation", validation)):
        trained = set(splits["train"])
        free = [patient for patient in patients if trained.issuperset(patient.rows)]
        if splits[lacking] or len(free) < 2:
            continue
        free = [free[index] for index in draw.permutation(len(free))]
        free.sort(key=lambda patient: (patient.modalities, patient.label))
        for index in evenly_spaced(len(free), max(1, round(fraction * len(free)))):
            splits[lacking] += free[index].rows
            trained -= set(free[index].rows)
        splits["train"] = sorted(trained)
