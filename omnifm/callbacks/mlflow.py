"""MLflow: each arm is a run of its own, with the experiment as parameters and the scores as metrics."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import ArmEnd, ArmStart, EvaluationEvent, RoundEvent, RunInfo
from omnifm.callbacks.scalars import evaluation_scalars, round_scalars
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import ExperimentError, OutOfTime

if TYPE_CHECKING:
    from mlflow import MlflowClient

Value = TypeVar("Value")
_AT_ONCE = 100  # MLflow takes no more parameters in one request
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # a comparison's forked workers must not share a connection
}


@dataclass
class MLflow(Callback):
    """Writes every arm (of a comparison: every cell) as one run of MLflow; a resumed arm continues in the same run.

    Attributes:
        uri: where MLflow stores runs; if empty, ``MLFLOW_TRACKING_URI``, or else ``mlflow.db`` in the run's folder:
            ``mlflow ui --backend-store-uri sqlite:///RUN/mlflow.db`` shows it.
        experiment: the name of MLflow's experiment; if empty, that of the run.
        clients: write every client's scores besides their mean.

    Raises:
        ExperimentError: the package is not installed.
    """

    uri: str = ""
    experiment: str = ""
    clients: bool = False

    def __post_init__(self) -> None:
        if find_spec("mlflow") is None:
            raise ExperimentError("callbacks: MLflow is not installed here: pip install 'omnifm[tracking]'.")
        self._id = ""

    def on_run_start(self, info: RunInfo) -> None:
        """Make the database and the experiment, before workers that do the same can be in each other's way."""
        self._experiment(info)

    def on_arm_start(self, event: ArmStart) -> None:
        """Start a run of MLflow, or resume the arm's own."""
        arm, kept = event.arm, event.arm.folder / "mlflow-run.txt"
        experiment, client = self._experiment(arm.run), self._client(arm.run)
        if kept.exists() and any(client.search_runs([experiment], f"attributes.run_id = '{kept.read_text()}'")):
            self._id = kept.read_text()
            client.update_run(self._id, status="RUNNING")
            return
        self._id = client.create_run(experiment, run_name=arm.label).info.run_id
        write_atomically(kept, self._id.encode())
        from mlflow.entities import Param

        parameters = [Param(_allowed(key), str(value)) for key, value in _flat({"arm": arm.name, **arm.experiment})]
        for some in _batches(parameters):
            client.log_batch(self._id, params=some)

    def on_round_end(self, event: RoundEvent) -> None:
        """Write a round's loss, bytes and seconds."""
        self._write(event.arm.run, round_scalars(event), event.round)

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Write the scores."""
        self._write(event.arm.run, evaluation_scalars(event, self.clients), event.round)

    def on_arm_end(self, event: ArmEnd) -> None:
        """Record how the run ended."""
        if self._id:
            left = isinstance(event.error, OutOfTime | KeyboardInterrupt)
            status = "FINISHED" if event.error is None else "KILLED" if left else "FAILED"
            self._client(event.arm.run).set_terminated(self._id, status)
            self._id = ""

    def _write(self, run: RunInfo, scalars: Iterator[tuple[str, float]], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for some in _batches([Metric(_allowed(name), value, now, step) for name, value in scalars]):
            self._client(run).log_batch(self._id, metrics=some, synchronous=True)

    def _experiment(self, run: RunInfo) -> str:
        client, name = self._client(run), self.experiment or run.name
        found = client.get_experiment_by_name(name)
        place = None if self._elsewhere else (run.folder / "mlflow").absolute().as_uri()
        return str(found.experiment_id) if found else client.create_experiment(name, artifact_location=place)

    @property
    def _elsewhere(self) -> str:
        return self.uri or os.environ.get("MLFLOW_TRACKING_URI", "")

    def _client(self, run: RunInfo) -> MlflowClient:
        for key, value in _DEFAULTS.items():
            os.environ.setdefault(key, value)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        return MlflowClient(self._elsewhere or f"sqlite:///{Path(run.folder).absolute()}/mlflow.db")


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _batches(values: list[Value]) -> Iterator[list[Value]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]


def _allowed(name: str) -> str:
    """Return a name without the characters that MLflow does not allow."""
    return re.sub(r"[^\w.\-/ :]", "_", name)
