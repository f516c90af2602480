"""The folder of one arm: where its files are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnifm.callbacks.metrics_log import MetricsLog
from omnifm.checkpoint.client_store import StateStore
from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.checkpoint.manager import CheckpointManager
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.evaluation import EvaluationPoint
from omnifm.data.client_stats import ClientStats
from omnifm.data.fingerprint import Fingerprint
from omnifm.runs.arm import DataSpec
from omnifm.runs.client_models import ClientModels
from omnifm.tasks.task import DataShape
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import CheckpointError, DataError


@dataclass(frozen=True)
class ArmFolder:
    """Where one arm's files are, and the weights that it starts from."""

    path: Path
    kept: KeptWeights | None = None

    @property
    def result(self) -> Path:
        """The arm's final scores; it exists when the arm is finished."""
        return self.path / "result.json"

    @property
    def metrics(self) -> MetricsLog:
        """The metrics log."""
        return MetricsLog(self.path / "metrics.jsonl")

    @property
    def models(self) -> ClientModels:
        """The clients' models that depend on data."""
        return ClientModels(self.path / "models")

    def checkpoints(self, states: StateStore | None = None) -> CheckpointManager:
        """Return the checkpoints of the last rounds and of the best; ``states`` is where the clients keep theirs."""
        return CheckpointManager(self.path / "checkpoints", states)

    def read_best(self, checkpoints: CheckpointManager, point: EvaluationPoint) -> Checkpoint:
        """Return the best checkpoint of an evaluation point.

        Raises:
            CheckpointError: it is missing or damaged; says what to do.
        """
        try:
            return checkpoints.read_best(point)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error} Remove the folder {self.path} and resume: this arm then runs from its start."
            ) from None

    def write_data(
        self,
        data_spec: DataSpec,
        here: bool,
        allowed: Mapping[str, Sequence[str]] | None = None,
        exclusive: Mapping[str, bool] | None = None,
    ) -> None:
        """Record what is known of the data, and whether the clients' data and states are on this machine.

        ``allowed`` names the possible labels of the clients on this machine; ``exclusive`` says whether each of their
        images has exactly one.
        """
        known = {"here": here, "allowed": allowed or {}, "exclusive": exclusive or {}, **asdict(data_spec)}
        write_atomically(self._data, json.dumps(known, indent=1).encode())

    def add_labels(self, allowed: Mapping[str, Sequence[str]], exclusive: Mapping[str, bool]) -> None:
        """Record what is known of the labels of further clients: see :meth:`write_data`."""
        known = self._read()
        known |= {"allowed": {**known["allowed"], **allowed}, "exclusive": {**known["exclusive"], **exclusive}}
        write_atomically(self._data, json.dumps(known, indent=1).encode())

    def check_data(self, now: DataSpec) -> None:
        """Check that an arm that has begun goes on with data of the same classes, clients and sizes.

        Raises:
            DataError: it does not; says what differs.
        """
        if not self._data.exists():
            return
        try:
            then, _ = self.read_data()
        except CheckpointError:  # damaged, and written anew
            return
        changes = Fingerprint(then.shape.label_names, {}).changes_to(Fingerprint(now.shape.label_names, {}))
        known = {one.name: one for one in then.client_stats}
        changes += [f"the client {one.name!r} is new" for one in now.client_stats if one.name not in known]
        for one in now.client_stats:
            if (old := known.pop(one.name, one)) != one:
                sizes = [f"{part.train} + {part.validation} + {part.test}" for part in (old, one)]
                changes.append(f"the client {one.name!r} has {sizes[1]} images (it had {sizes[0]})")
        changes += [f"the client {name!r} is gone" for name in known]
        if changes or then.shape != now.shape:
            what = "; ".join(changes[:5]) or "images or answers have another form"
            raise DataError(
                f"The data are not those that {self.path} was trained on: {what}. Put them back as they were, or start "
                "a new run."
            )

    def read_data(self) -> tuple[DataSpec, bool]:
        """Return what is known of the data, and whether the clients' data and states are on this machine.

        Raises:
            CheckpointError: the arm has not begun, or the file is damaged.
        """
        try:
            plain = self._read()
            fields: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in plain["shape"].items()}
            shape = DataShape(**fields)
            stats = tuple(ClientStats(**one) for one in plain["client_stats"])
            spec = DataSpec(shape=shape, channels=plain["channels"], axes=plain["axes"], client_stats=stats)
            return spec, plain["here"]
        except FileNotFoundError:
            text = f"{self.path} has not begun: it has no round that validation chose yet. Resume the run first."
            raise CheckpointError(text) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self._data} is damaged: {error!r}. Resume the run, which rewrites it.") from None

    def read_allowed(self, client: str) -> tuple[str, ...] | None:
        """Return the possible labels of a client's data, None where they are not known here."""
        known = self._read().get("allowed", {}).get(client)
        return None if known is None else tuple(known)

    def read_exclusive(self) -> dict[str, bool]:
        """Return of each client whether each of its images has exactly one label, where that is known here."""
        return dict(self._read().get("exclusive", {}))

    def _read(self) -> Any:
        return json.loads(self._data.read_text(encoding="utf-8"))

    @property
    def _data(self) -> Path:
        return self.path / "data.json"
