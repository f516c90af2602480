"""The split of an earlier run: patients stay where they were, and those who are new move nobody."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from omnifm.data.fingerprint import pseudonym
from omnifm.data.partition import PartitionSettings
from omnifm.data.patient_rows import (
    Assignment,
    ClientSplit,
    PatientRows,
    Rows,
    client_split,
    grouped,
    is_torn,
    patients_of,
    warn_of_torn,
)
from omnifm.data.subset import ClientData
from omnifm.utils.errors import DataError
from omnifm.utils.seeding import derive_seed

_log = logging.getLogger("omnifm")
_SEEDS = 2**63


@dataclass(frozen=True)
class KeptSplit:
    """Where the patients of a run are.

    ``origin`` is the run, for messages; ``clients`` are in its order. ``places`` has the client and the split of each
    patient, by the pseudonym under the run's ``key``. It goes before a published split, but for patients whose rows
    were published in several.
    """

    origin: str
    key: bytes
    clients: tuple[str, ...]
    places: Mapping[str, tuple[str, str]]

    def knows(self, client: ClientData) -> bool:
        """Return whether all patients of a client have a place."""
        patients = {patient for part in (client.train, client.validation, client.test) for patient in part.patients}
        return all(pseudonym(self.key, patient) in self.places for patient in patients)

    def partition(
        self, rows: Rows, settings: PartitionSettings, seed: int, whole_as: str = ""
    ) -> tuple[ClientSplit, ...]:
        """Deal all rows out as ``partition_rows`` does, known patients to where they were.

        One who is new goes to a client of the same modality or institution, if ``settings`` divide by these, or else to
        any; to which, and into which split, depends on the seed and on the patient's own name alone.

        Args:
            rows: all rows.
            settings: of the partition.
            seed: of the experiment.
            whole_as: if given, all rows are this one client's.

        Raises:
            DataError: the run has another number of clients than asked for, or nothing is left for a split of a client.
        """
        if settings.clients not in (0, len(self.clients)) and not whole_as:
            raise DataError(
                f"partition.clients = {settings.clients}, but {self.origin}, whose split is kept, has "
                f"{len(self.clients)} clients. Leave partition.clients at 0, or partition.split_from out."
            )
        patients = patients_of(rows)
        warn_of_torn(patients, rows)
        assigned: Assignment = {name: [] for name in ((whole_as,) if whole_as else self.clients)}
        splits, new = dict[str, str](), list[PatientRows]()
        for patient in patients:
            client, split = self.places.get(pseudonym(self.key, patient.name), ("", ""))
            if client:
                assigned[whole_as or client].append(patient)
            else:
                new.append(patient)
                split = "" if patient.split else _drawn_split(patient.name, settings, seed)
            if split and not is_torn(patient, rows):
                splits[patient.name] = split
        for patient, homes in self._homes(assigned, new, settings, whole_as):
            home = homes[derive_seed(seed, "partition", "added to", patient.name) % len(homes)]
            assigned.setdefault(home, []).append(patient)
        if gone := [name for name, mine in assigned.items() if not mine]:
            _log.warning("No patient of client %r of %s is in the data: left out.", gone[0], self.origin)
        return tuple(client_split(name, mine, rows, splits, settings, seed) for name, mine in assigned.items() if mine)

    def _homes(
        self, known: Assignment, new: list[PatientRows], settings: PartitionSettings, whole_as: str
    ) -> Iterator[tuple[PatientRows, Sequence[str]]]:
        """Yield each new patient with the clients who may have it."""
        clients = tuple(known)
        if settings.kind == "modality" and not whole_as:
            held = {name: {modality for one in mine for modality in one.modalities} for name, mine in known.items()}
            for modality, mine in grouped(new, lambda patient: patient.modalities, "modality").items():
                homes = [name for name in clients if modality in held[name]] or [modality]
                yield from ((patient, homes) for patient in mine)
        elif settings.kind == "institution" and not whole_as:
            for institution, mine in grouped(new, lambda patient: patient.institutions, "institution").items():
                yield from ((patient, [institution]) for patient in mine)
        else:
            yield from ((patient, clients) for patient in new)


def _drawn_split(patient: str, settings: PartitionSettings, seed: int) -> str:
    """Return the split of a new patient, which no other patient has a part in."""
    drawn = derive_seed(seed, "partition", "added", patient) / _SEEDS
    return "test" if drawn < settings.test else "validation" if drawn < settings.test + settings.validation else "train"
