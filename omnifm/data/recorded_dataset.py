"""The data of a run, or of a hospital, loaded with the split that they have had, and compared with what is known."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from omnifm.data.data_record import DataRecord, Recorded
from omnifm.data.federated_dataset import (
    DataSettings,
    FederatedDataset,
    data_settings,
    load_dataset,
    split_of_run,
)
from omnifm.data.fingerprint import Fingerprint, ReadFile
from omnifm.data.partition import PartitionSettings
from omnifm.utils.errors import DataError

_log = logging.getLogger("omnifm")


class OtherDataError(DataError):
    """The data are not those of the run."""


def load_recorded(
    record: DataRecord, data: DataSettings, partition: PartitionSettings, seed: int, *, write: bool = True
) -> FederatedDataset:
    """Load the data of a run, and record them if that was not done yet.

    Args:
        record: of the run.
        data: the sources.
        partition: who holds what.
        seed: of the experiment.
        write: whether data that are not recorded are.

    Raises:
        OtherDataError: they are others than those recorded; says what differs.
        DataError: they cannot be read.
    """
    settings = data_settings(data, partition, seed)
    found = record.find(settings) if record.exists() else None
    names = list[str]()

    def check(labels: tuple[str, ...], files: Mapping[str, ReadFile]) -> None:
        names.extend(labels)
        if found:
            _compare(record, found, Fingerprint.of(labels, files, record.key()))

    kept = found.split if found else split_of_run(data, partition, seed) if partition.split_from else None
    dataset = load_dataset(data, partition, seed, kept=kept, check=check)
    if write and found is None:
        fingerprint = Fingerprint.of(tuple(names), dataset.files, record.key(kept.key if kept else None))
        record.write(settings, fingerprint, dataset.clients, data.name_files)
    return dataset


def load_hospital(
    record: DataRecord,
    data: DataSettings,
    partition: PartitionSettings,
    seed: int,
    name: str,
    labels: Sequence[str] = (),
    *,
    write: bool = True,
) -> FederatedDataset:
    """Load all data as one hospital's, in the split that they had before: patients may come, and none changes place.

    Args:
        record: of the hospital, on its own machine.
        data: the sources, which may be others than before.
        partition: how patients are split.
        seed: decides, with ``partition``, about the split.
        name: of the hospital.
        labels: as in :func:`load_dataset`.
        write: whether the places of new patients are recorded.

    Raises:
        DataError: the data cannot be read, or the record is damaged.
    """
    settings = {key: value for key, value in data_settings(data, partition, seed).items() if key != "data"}
    found = record.find(settings) if record.exists() else None
    dataset = load_dataset(data, partition, seed, name, labels, kept=found.split if found else None)
    if write and not (found and found.split.knows(dataset.clients[0])):
        record.write(settings, Fingerprint((), {}), dataset.clients, name_files=False)
    return dataset


def warn_of_no_record(record: DataRecord) -> None:
    """Warn of a run that has begun without a record, as those of older versions have."""
    _log.warning(
        "%s was started by a version that did not record the data: nobody can tell whether they are still the same.",
        record.run,
    )


def _compare(record: DataRecord, found: Recorded, now: Fingerprint) -> None:
    if changes := found.fingerprint.changes_to(now):
        raise OtherDataError(
            f"The data are not those of {record.run}: {'; '.join(changes)}. Put them back as they were, or start a new "
            "run (partition.split_from keeps its split)."
        )
