"""Dealing rows out to hospitals: who holds what, and which of it is for training, validation and test.

Patients are distributed, never rows, so that no patient is in two hospitals, nor in two of the
splits that are made here. Published splits are kept: their rows stay what they were published as.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from omnifm.data.published_split import complete
from omnifm.data.subset import distinct, evenly_spaced
from omnifm.utils.errors import DataError
from omnifm.utils.seeding import numpy_generator
from omnifm.utils.settings import Between, CountOrZero, Positive, settings

_log = logging.getLogger("omnifm")


@settings
class PartitionSettings:
    """How the rows are distributed.

    ``kind`` is one of

    - ``modality``: each hospital holds one modality. With more clients than modalities, a modality is split over
      several hospitals ("CT-1", "CT-2"), as evenly as can be: those with the most patients get one more.
    - ``institution``: each hospital holds what its source says.
    - ``iid``: each hospital holds all modalities, in the same proportions.
    - ``dirichlet``: hospitals of equal size, whose classes are skewed (Hsu et al., "Measuring the Effects of
      Non-Identical Data Distribution for Federated Visual Classification", 2019): hospital k draws its patients by
      q_k ~ Dirichlet(alpha p), p being the classes of all patients.
    - ``quantity``: the same classes, but sizes drawn from Dirichlet(alpha, ..., alpha).

    ``clients`` is the number of hospitals; 0 means as many as institutions for ``institution``, and as modalities else.
    The smaller ``alpha``, the greater the skew. ``validation`` and ``test`` are the fractions of a hospital's patients
    held out where no split is published: rounds are chosen on one and reported on the other, so neither is 0.
    """

    kind: Literal["modality", "dirichlet", "quantity", "iid", "institution"] = "modality"
    clients: CountOrZero = 0
    alpha: Positive = 0.5
    validation: Between = 0.2
    test: Between = 0.2

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test = {self.validation + self.test} must be below 1: nothing would train")


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


def partition_rows(rows: Rows, settings: PartitionSettings, seed: int) -> tuple[ClientSplit, ...]:
    """Deal all rows out to hospitals, each row exactly once.

    Raises:
        DataError: there are more clients than patients, fewer clients than modalities, a patient who belongs
            to two hospitals, or a hospital without samples in a split that it needs.
    """
    patients = _patients(rows)
    if settings.clients > len(patients):
        raise DataError(
            f"partition.clients = {settings.clients}, but the sources hold {len(patients)} patients, "
            "who cannot be divided. Ask for fewer clients or add data."
        )
    torn = [patient.name for patient in patients if len({rows.splits[row] for row in patient.rows}) > 1]
    if torn:
        _log.warning(
            "%d patients have rows in several published splits (such as %r); they stay as published.",
            len(torn),
            torn[0],
        )
    assigned = _DEALERS[settings.kind](patients, settings, seed)
    return tuple(_share(name, mine, rows, settings, seed) for name, mine in assigned.items())


def whole(name: str, rows: Rows, settings: PartitionSettings, seed: int) -> ClientSplit:
    """Return all rows as one client's, split as :func:`partition_rows` does; raises :class:`DataError` likewise."""
    patients = _patients(rows)
    mine = patients if settings.kind == "institution" else _deal_evenly(patients, [name], seed)[name]
    return _share(name, mine, rows, settings, seed)


def _patients(rows: Rows) -> list[PatientRows]:
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
            label=Counter(rows.classes[row] for row in mine).most_common(1)[0][0],
        )
        for name, mine in gathered.items()
    ]


def _by_modality(patients: list[PatientRows], settings: PartitionSettings, seed: int) -> Assignment:
    groups = _group(patients, lambda patient: patient.modalities, "modality")
    clients = settings.clients or len(groups)
    if clients < len(groups):
        raise DataError(
            f"partition.clients = {clients}, but the sources hold {len(groups)} modalities "
            f"({', '.join(groups)}) and partition.kind = 'modality' gives a client one of them. "
            "Ask for more clients or choose another partition.kind."
        )
    each, more = divmod(clients, len(groups))
    largest = sorted(groups, key=lambda modality: -len(groups[modality]))[:more]
    assigned: Assignment = {}
    for modality, mine in groups.items():
        count = each + (modality in largest)
        names = [modality] if count == 1 else [f"{modality}-{number + 1}" for number in range(count)]
        assigned |= _deal_evenly(mine, names, seed)
    return assigned


def _by_institution(patients: list[PatientRows], settings: PartitionSettings, seed: int) -> Assignment:
    groups = _group(patients, lambda patient: patient.institutions, "institution")
    if settings.clients not in (0, len(groups)):
        raise DataError(
            f"partition.clients = {settings.clients}, but the sources hold {len(groups)} institutions "
            f"({', '.join(groups)}). Leave partition.clients at 0 or choose another partition.kind."
        )
    return groups


def _iid(patients: list[PatientRows], settings: PartitionSettings, seed: int) -> Assignment:
    return _deal_evenly(patients, _names(patients, settings), seed)


def _by_dirichlet(patients: list[PatientRows], settings: PartitionSettings, seed: int) -> Assignment:
    """Let the hospitals draw a patient each in turn, of a class drawn from their own class distribution."""
    names = _names(patients, settings)
    random = numpy_generator(seed, "partition", "dirichlet", len(names))
    labels = sorted({patient.label for patient in patients})
    counts = Counter(patient.label for patient in patients)
    prior = np.array([counts[label] / len(patients) for label in labels])
    preferences = random.dirichlet(settings.alpha * prior, size=len(names))
    assigned: Assignment = {name: [] for name in names}
    # The published splits are distributed one after another, by the same preferences, so that a hospital's splits
    # agree.
    for stratum in _strata(patients):
        shuffled = [stratum[index] for index in random.permutation(len(stratum))]
        stacks = [[patient for patient in shuffled if patient.label == label] for label in labels]
        for turn in range(len(stratum)):
            left = np.array([len(stack) for stack in stacks])
            weights = preferences[turn % len(names)] * (left > 0)
            if weights.sum() == 0:  # the classes that this hospital prefers are used up
                weights = left.astype(np.float64)
            drawn = random.choice(len(stacks), p=weights / weights.sum())  # nosec B311  # numpy's, and no secret
            assigned[names[turn % len(names)]].append(stacks[drawn].pop())
    return assigned


def _by_quantity(patients: list[PatientRows], settings: PartitionSettings, seed: int) -> Assignment:
    """Cut each stratum by drawn proportions, after a first few for every hospital, so that none is empty."""
    names = _names(patients, settings)
    random = numpy_generator(seed, "partition", "quantity", len(names))
    proportions = random.dirichlet(np.full(len(names), settings.alpha))
    assigned: Assignment = {name: [] for name in names}
    for stratum in _strata(patients):
        shuffled = [stratum[index] for index in random.permutation(len(stratum))]
        needed = 1 if stratum[0].split else 3  # one for each split
        first = min(needed, len(stratum) // len(names))
        left = len(stratum) - first * len(names)
        cuts = np.round(np.cumsum(proportions) * left).astype(int)
        sizes = first + np.diff(cuts, prepend=0)
        start = 0
        for name, size in zip(names, sizes, strict=True):
            assigned[name] += shuffled[start : start + size]
            start += size
    return assigned


_DEALERS: dict[str, Callable[[list[PatientRows], PartitionSettings, int], Assignment]] = {
    "modality": _by_modality,
    "institution": _by_institution,
    "iid": _iid,
    "dirichlet": _by_dirichlet,
    "quantity": _by_quantity,
}


def _group(patients: list[PatientRows], key: Callable[[PatientRows], tuple[str, ...]], what: str) -> Assignment:
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


def _names(patients: list[PatientRows], settings: PartitionSettings) -> list[str]:
    modalities = {modality for patient in patients for modality in patient.modalities}
    return [f"hospital-{number + 1}" for number in range(settings.clients or len(modalities))]


def _strata(patients: list[PatientRows]) -> list[list[PatientRows]]:
    """Return the patients of each published split, and those of none."""
    strata: dict[str | None, list[PatientRows]] = {}
    for patient in patients:
        strata.setdefault(patient.split, []).append(patient)
    return list(strata.values())


def _deal_evenly(patients: list[PatientRows], names: Sequence[str], seed: int) -> Assignment:
    """Distribute the shuffled patients of each split and modality in turn, so that all hospitals are similar."""
    random = numpy_generator(seed, "partition", "evenly", list(names))
    shuffled = [patients[index] for index in random.permutation(len(patients))]
    shuffled.sort(key=lambda patient: (str(patient.split), patient.modalities))
    return {name: shuffled[start :: len(names)] for start, name in enumerate(names)}


def _share(name: str, patients: list[PatientRows], rows: Rows, settings: PartitionSettings, seed: int) -> ClientSplit:
    """Keep the published splits of the hospital's rows, and split its other patients."""
    splits: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    unsplit = []
    for patient in patients:
        if patient.split is None:
            unsplit.append(patient)
        else:
            for row in patient.rows:
                splits[rows.splits[row] or patient.split].append(row)
    for patient, split in _split(name, unsplit, settings, seed):
        splits[split] += patient.rows
    random = numpy_generator(seed, "partition", "complete", name)
    complete(splits, [one for one in patients if one.split], settings.validation, settings.test, random)
    for split, mine in splits.items():
        if not mine:
            raise DataError(
                f"Client {name!r} has no sample for {split} (of {len(patients)} patients). "
                "Ask for fewer clients or add data."
            )
    return ClientSplit(name, **{split: tuple(sorted(mine)) for split, mine in splits.items()})


def _split(
    name: str, patients: list[PatientRows], settings: PartitionSettings, seed: int
) -> list[tuple[PatientRows, str]]:
    """Split patients at random but evenly over modalities and classes; at least one for each needed split."""
    random = numpy_generator(seed, "partition", "split", name)
    left = [patients[index] for index in random.permutation(len(patients))]
    left.sort(key=lambda patient: (patient.modalities, patient.label))
    splits = []
    for split, fraction in (("test", settings.test), ("validation", settings.validation)):
        if left:
            chosen = set(evenly_spaced(len(left), max(1, round(fraction * len(patients)))))
            splits += [(left[index], split) for index in sorted(chosen)]
            left = [patient for index, patient in enumerate(left) if index not in chosen]
    return splits + [(patient, "train") for patient in left]
