"""Dealing rows out to hospitals: who holds what, and which of it is for training, validation and test.

Patients are distributed, never rows, so that no patient is in two hospitals, nor in two of the
splits that are made here. Published splits are kept: their rows stay what they were published as.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from omnifm.data.patient_rows import (
    Assignment,
    ClientSplit,
    PatientRows,
    Rows,
    client_split,
    grouped,
    patients_of,
    warn_of_torn,
)
from omnifm.data.subset import evenly_spaced
from omnifm.utils.errors import DataError
from omnifm.utils.seeding import numpy_generator
from omnifm.utils.settings import Between, CountOrZero, Positive, settings


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

    Attributes:
        kind: how patients are assigned to clients.
        clients: the number of clients; 0: as many as institutions for ``institution``, otherwise as modalities.
        alpha: the concentration of the Dirichlet distribution; the smaller, the greater the skew.
        validation: the fraction of a client's patients that are held out for validation where no split is published.
        test: the fraction that is held out for test. Rounds are chosen on validation data and reported on these, so
            neither is 0.
        split_from: the folder of an earlier run: every patient of it keeps the client and the split that it had there,
            and new patients are placed one by one, by a digest of their names, so that none moves when others are
            added.
    """

    kind: Literal["modality", "dirichlet", "quantity", "iid", "institution"] = "modality"
    clients: CountOrZero = 0
    alpha: Positive = 0.5
    validation: Between = 0.2
    test: Between = 0.2
    split_from: str = ""

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test = {self.validation + self.test} must be below 1: nothing would train")


def partition_rows(rows: Rows, settings: PartitionSettings, seed: int) -> tuple[ClientSplit, ...]:
    """Deal all rows out to hospitals, each row exactly once.

    Raises:
        DataError: there are more clients than patients, fewer clients than modalities, a patient who belongs
            to two hospitals, or a hospital without samples in a split that it needs.
    """
    patients = patients_of(rows)
    if settings.clients > len(patients):
        raise DataError(
            f"partition.clients = {settings.clients}, but the sources hold {len(patients)} patients, "
            "who cannot be divided. Ask for fewer clients or add data."
        )
    warn_of_torn(patients, rows)
    assigned = _DEALERS[settings.kind](patients, settings, seed)
    return tuple(_share(name, mine, rows, settings, seed) for name, mine in assigned.items())


def whole(name: str, rows: Rows, settings: PartitionSettings, seed: int) -> ClientSplit:
    """Return all rows as one client's, split as :func:`partition_rows` does; raises :class:`DataError` likewise."""
    patients = patients_of(rows)
    mine = patients if settings.kind == "institution" else _deal_evenly(patients, [name], seed)[name]
    return _share(name, mine, rows, settings, seed)


def _by_modality(patients: list[PatientRows], settings: PartitionSettings, seed: int) -> Assignment:
    groups = grouped(patients, lambda patient: patient.modalities, "modality")
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
    groups = grouped(patients, lambda patient: patient.institutions, "institution")
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
    unsplit = [patient for patient in patients if patient.split is None]
    return client_split(name, patients, rows, dict(_split(name, unsplit, settings, seed)), settings, seed)


def _split(name: str, patients: list[PatientRows], settings: PartitionSettings, seed: int) -> list[tuple[str, str]]:
    """Split patients, by name, at random but evenly over modalities and classes; at least one for each needed split."""
    random = numpy_generator(seed, "partition", "split", name)
    left = [patients[index] for index in random.permutation(len(patients))]
    left.sort(key=lambda patient: (patient.modalities, patient.label))
    splits = []
    for split, fraction in (("test", settings.test), ("validation", settings.validation)):
        if left:
            chosen = set(evenly_spaced(len(left), max(1, round(fraction * len(patients)))))
            splits += [(left[index].name, split) for index in sorted(chosen)]
            left = [patient for index, patient in enumerate(left) if index not in chosen]
    return splits + [(patient.name, "train") for patient in left]
