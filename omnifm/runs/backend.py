"""Backends: where the arms of a run are put together and who runs their clients."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from omnifm.callbacks.callback import Callback
from omnifm.checkpoint.client_store import ClientStateStore, StateStore
from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.checkpoint.manager import CheckpointManager
from omnifm.config.experiment import Experiment, Plan
from omnifm.data.data_record import DataRecord
from omnifm.data.federated_dataset import DataSettings, FederatedDataset, load_dataset
from omnifm.data.partition import PartitionSettings
from omnifm.data.recorded_dataset import OtherDataError, load_recorded, warn_of_no_record
from omnifm.engines.in_process import InProcess
from omnifm.federation.loop import Engine
from omnifm.runs.arm import Arm, DataSpec, make_arm
from omnifm.utils.errors import DataError, ExperimentError, did_you_mean
from omnifm.utils.warn_once import warn_once

BACKENDS = {
    "in-process": "omnifm.runs.backend:LocalBackend",
    "flower-simulation": "omnifm.engines.flower.simulation:SimulationBackend",
}
"""The backends of ``omnifm run --engine``, each a class that takes the number of workers; imported when asked for."""


class Backend(Protocol):
    """Where arms run: on this machine, or at clients elsewhere."""

    @property
    def states(self) -> StateStore | None:
        """The store of the clients' states, if not next to the checkpoints."""
        ...

    def open(self, plan: Plan, folder: Path) -> AbstractContextManager[Sequence[Callback]]:
        """Prepare for a run in its folder; yield the backend's own callbacks."""
        ...

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Put an arm together; weights that it starts from are among those ``kept``."""
        ...

    def data_spec(self, arm: Arm) -> DataSpec:
        """Return what is known of the data in the end: clients may have come since the arm was put together."""
        ...

    def engine(self, name: str, arm: Arm, checkpoints: CheckpointManager) -> AbstractContextManager[Engine]:
        """Return the engine that runs an arm's clients."""
        ...


class LocalBackend:
    """The backend of ``omnifm run``: all clients' data are on this machine.

    Args:
        workers: how many clients train at a time.
        dataset: the data, if they are loaded already.
    """

    states: StateStore | None = None

    def __init__(self, workers: int = 1, dataset: FederatedDataset | None = None) -> None:
        self._workers, self._dataset = workers, dataset
        self._load: Callable[[DataSettings, PartitionSettings, int], FederatedDataset]
        self._load = lru_cache(maxsize=1)(load_dataset)

    def open(self, plan: Plan, folder: Path) -> AbstractContextManager[Sequence[Callback]]:
        """Take the data to be those of the run in this folder, which records them."""
        record = DataRecord(folder)
        if not record.exists() and any(folder.glob("*/data.json")):
            warn_of_no_record(record)
        self._load = lru_cache(maxsize=1)(partial(load_recorded, record))
        if record.exists() and all((folder / name / "result.json").exists() for name in plan.arms):
            self._compare(plan)
        return nullcontext(())

    def _compare(self, plan: Plan) -> None:
        """Compare the data of a finished run with what it knows; they may be gone, since it needs them no more."""
        for experiment in plan.arms.values():
            try:
                self._load(experiment.data, experiment.partition, experiment.seed)
            except OtherDataError:
                raise
            except DataError:
                continue

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Put an arm together, the data loaded if they are not there yet."""
        dataset = self._dataset or self._load(experiment.data, experiment.partition, experiment.seed)
        arm = make_arm(experiment, dataset, kept)
        if caution := arm.caution:
            warn_once(caution)
        return arm

    def data_spec(self, arm: Arm) -> DataSpec:
        """Return what was known from the beginning."""
        return arm.data_spec

    def engine(self, name: str, arm: Arm, checkpoints: CheckpointManager) -> InProcess:
        """Return the engine; a GPU serves one client after another."""
        assert isinstance(checkpoints.states, ClientStateStore)
        return InProcess(arm.runtime, self._workers if arm.experiment.device == "cpu" else 1, checkpoints.states)


def make_backend(name: str, workers: int) -> Backend:
    """Return the backend of this name.

    Raises:
        ExperimentError: there is none.
        DeploymentError: it needs a package that is not installed.
    """
    if name not in BACKENDS:
        raise ExperimentError(f"--engine: there is no {name!r}. {did_you_mean(name, BACKENDS)}")
    module, _, kind = BACKENDS[name].partition(":")
    made: Any = getattr(importlib.import_module(module), kind)(workers)
    backend: Backend = made
    return backend
