"""The rows of each patient, and of each hospital: what a partition is made of.

Patients are distributed, never rows, so that no patient is in two hospitals, nor in two of the splits that are made
here. Published splits are kept: their rows stay what they were published as.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from omnifm.data.published_split import complete
from omnifm.data.subset import distinct
from omnifm.utils.errors import DataError
from omnifm.utils.seeding import numpy_generator

_log = logging.getLogger("omnifm")


@dataclass(frozen=True)
class Rows:
    """What the dealing looks at, one entry a row. ``splits`` holds None where no split is published."""

    patients: tuple[str, ...]
    modalities: tuple[str, ...]
    institutions: tuple[str, ...]
    splits: tuple[str | None, ...]
    classes: tuple[int, ...]


@dataclass(frozen=True)
class ClientSplit:
    """The rows of one hospital, in ascending order."""

    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class PatientRows:
    """All rows of one patient, with their commonest class and their first published split, if any."""

    name: str
    rows: tuple[int, ...]
    modalities: tuple[str, ...]
    institutions: tuple[str, ...]
    split: str | None
    label: int


Assignment = dict[str, list[PatientRows]]
"""The patients of each client, by the client's name."""


def patients_of(rows: Rows) -> list[PatientRows]:
    """Gather the rows of each patient, in order of first appearance."""
    gathered: dict[str, list[int]] = {}
    for row, patient in enumerate(rows.patients):
        gathered.setdefault(patient, []).append(row)
    return [
        PatientRows(
            name=name,
            rows=tuple(mine),
            modalities=distinct([rows.modalities[row] for row in mine]),
            institutions=distinct([rows.institutions[row] for row in mine]),
            split=next((rows.splits[row] for row in mine if rows.splits[row]), None),
            label=_commonest([rows.classes[row] for row in mine]),
        )
        for name, mine in gathered.items()
    ]


def _commonest(classes: list[int]) -> int:
    """Return the class of most rows, the first of several."""
    return max(dict.fromkeys(classes), key=classes.count)  # of few rows much faster than a Counter


def grouped(patients: list[PatientRows], key: Callable[[PatientRows], tuple[str, ...]], what: str) -> Assignment:
    """Group the patients by the one modality or institution that each has."""
    groups: Assignment = {}
    for patient in patients:
        names = key(patient)
        if len(names) > 1:
            raise DataError(
                f"Patient {patient.name!r} has images of {' and '.join(names)}: partition.kind = "
                f"{what!r} would put one patient into several clients. Choose another partition.kind."
            )
        groups.setdefault(names[0], []).append(patient)
    return groups


class SplitSizes(Protocol):
    """The fractions of a client's patients that are held out."""

    @property
    def validation(self) -> float:
        """Of those for validation."""
        ...

    @property
    def test(self) -> float:
        """Of those for test."""
        ...


def is_torn(patient: PatientRows, rows: Rows) -> bool:
    """Return whether the rows of a patient were published in several splits."""
    return len({rows.splits[row] for row in patient.rows}) > 1


def warn_of_torn(patients: Sequence[PatientRows], rows: Rows) -> None:
    """Warn of patients who were published in several splits."""
    torn = [patient.name for patient in patients if is_torn(patient, rows)]
    if torn:
        _log.warning(
            "%d patients have rows in several published splits (such as %r); they stay as published.",
            len(torn),
            torn[0],
        )


def client_split(
    name: str, patients: Sequence[PatientRows], rows: Rows, splits: Mapping[str, str], sizes: SplitSizes, seed: int
) -> ClientSplit:
    """Return the rows of a client: patients are where ``splits`` has them, and the others where they were published.

    Where no validation or test data were published, some of those for training are taken.

    Raises:
        DataError: nothing is left for one of the splits.
    """
    found: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    published = [patient for patient in patients if patient.split and patient.name not in splits]
    for patient in patients:
        for row in patient.rows:
            split = splits.get(patient.name) or rows.splits[row] or patient.split
            assert split is not None  # who was not published has been placed
            found[split].append(row)
    random = numpy_generator(seed, "partition", "complete", name)
    complete(found, published, sizes.validation, sizes.test, random)
    for lacking, mine in found.items():
        if not mine:
            raise DataError(
                f"Client {name!r} has no sample for {lacking} (of {len(patients)} patients). "
                "Ask for fewer clients or add data."
            )
    return ClientSplit(name, **{split: tuple(sorted(mine)) for split, mine in found.items()})
