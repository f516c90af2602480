"""One arm, played into its folder: the rounds with their log and checkpoints, then the test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from PIL import Image

from omnifm.callbacks.metrics_log import MetricsLog
from omnifm.checkpoint.client_store import ClientStateStore, StateStore, digests_of
from omnifm.checkpoint.file import digest
from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.checkpoint.manager import CheckpointManager
from omnifm.core.records import Broadcast
from omnifm.data.client_stats import ClientStats
from omnifm.data.federated_dataset import FederatedDataset, load_dataset
from omnifm.engines.in_process import InProcess
from omnifm.experiment import Experiment, to_document, to_toml
from omnifm.federation.loop import (
    Callback,
    Checkpoint,
    Engine,
    EvaluationEvent,
    EvaluationPoint,
    Federation,
    RoundEvent,
)
from omnifm.runs.arm import Arm, DataSpec, make_arm
from omnifm.tasks.task import Panel, Picture
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import CheckpointError

PANELS = 6

Watcher = Callable[[str, Arm], Iterable[Callback]]
"""Makes further callbacks (a progress bar, a tracker) for an arm, by its name."""


@dataclass(frozen=True)
class ArmFolder:
    """Where one arm's files lie, and those that it starts from."""

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

    def checkpoints(self, states: StateStore | None = None) -> CheckpointManager:
        """Return the checkpoints of the last rounds and of the best; ``states`` is where the clients keep theirs."""
        return CheckpointManager(self.path / "checkpoints", states)


class Recorder(Callback):
    """Writes the metrics log, a checkpoint every round, and the best checkpoints."""

    def __init__(self, log: MetricsLog, checkpoints: CheckpointManager) -> None:
        self.log, self.checkpoints = log, checkpoints

    def round_done(self, event: RoundEvent) -> None:
        """Log a round."""
        self.log.append(event="round", **asdict(event))

    def evaluated(self, event: EvaluationEvent) -> None:
        """Log an evaluation."""
        clients = {name: scores.numbers for name, scores in event.scores.items()}
        self.log.append(event="evaluation", round=event.round, split=event.split, point=event.point, clients=clients)

    def improved(self, point: EvaluationPoint, checkpoint: Checkpoint) -> None:
        """Keep the best checkpoint beside the last."""
        self.checkpoints.write_best(point, checkpoint)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write the round's checkpoint."""
        self.checkpoints.write(checkpoint)


class PlayingEngine(Engine, Protocol):
    """An engine that can also show what was learned."""

    def show(self, broadcast: Broadcast, name: str, point: EvaluationPoint, count: int) -> list[Panel]:
        """Return pictures of a client's predictions; none, where they may not leave the client."""
        ...


class Stage(Protocol):
    """Where arms are played: on this machine, or by hospitals far away."""

    @property
    def states(self) -> StateStore | None:
        """Where the clients keep their states, if not beside the checkpoints."""
        ...

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Put an arm together; weights that it starts from are among those ``kept``."""
        ...

    def data_spec(self, arm: Arm) -> DataSpec:
        """Return what is known of the data in the end: hospitals may have come since the arm was put together."""
        ...

    def engine(self, name: str, arm: Arm, checkpoints: CheckpointManager) -> AbstractContextManager[PlayingEngine]:
        """Return the engine for an arm."""
        ...


class LocalBackend:
    """The stage of ``omnifm run``: all hospitals' data are here."""

    states: StateStore | None = None

    def __init__(self, workers: int = 1, dataset: FederatedDataset | None = None) -> None:
        self._workers, self._dataset = workers, dataset
        self._load = lru_cache(maxsize=1)(load_dataset)

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Put an arm together, the data loaded if they are not there yet."""
        dataset = self._dataset or self._load(experiment.data, experiment.partition, experiment.seed)
        return make_arm(experiment, dataset, kept)

    def data_spec(self, arm: Arm) -> DataSpec:
        """Return what was known from the beginning."""
        return arm.data_spec

    def engine(self, name: str, arm: Arm, checkpoints: CheckpointManager) -> InProcess:
        """Return the engine; a GPU serves one hospital after another."""
        assert isinstance(checkpoints.states, ClientStateStore)
        return InProcess(arm.runtime, self._workers if arm.experiment.device == "cpu" else 1, checkpoints.states)


def run_arm(
    name: str,
    experiment: Experiment,
    stage: Stage,
    folder: ArmFolder,
    watch: Watcher = lambda name, arm: (),
    test: bool = True,
) -> Checkpoint:
    """Play the rounds that the folder still lacks and write ``result.json``; without ``test``, the rounds only."""
    arm = stage.arm(experiment, folder.kept)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.path / "experiment.toml", to_toml(to_document(experiment)).encode())
    checkpoints = folder.checkpoints(stage.states)
    checkpoint = checkpoints.read_latest() or arm.start()
    folder.metrics.forget_after(checkpoint.server.round)
    with stage.engine(name, arm, checkpoints) as engine:
        federation = arm.federation(engine, [*watch(name, arm), Recorder(folder.metrics, checkpoints)])
        last = federation.run(checkpoint)
        if test:
            evaluated = _judge(arm, federation, engine, folder, checkpoints)
            found = {**_about(name, arm, stage.data_spec(arm)), **_ending(federation, last), **evaluated}
            found["weights_sha256"] = weights_sha256(last)
            write_atomically(folder.result, json.dumps(found, indent=1).encode())
    return last


def _about(name: str, arm: Arm, data_spec: DataSpec) -> dict[str, Any]:
    return {
        "arm": name,
        "algorithm": arm.experiment.algorithm,
        "seed": arm.experiment.seed,
        "main_metric": arm.task.main_metric,
        "lower_is_better": list(arm.task.lower_is_better),
        "label_names": list(data_spec.shape.label_names),
        "clients": {holding.name: _holdings(holding) for holding in data_spec.client_stats},
    }


def _ending(federation: Federation, last: Checkpoint) -> dict[str, Any]:
    """Say after how many rounds it ended, why, if that was early, and which rounds were the best."""
    patience = federation.settings.patience
    evaluations = f"{patience} evaluation{'s' if patience > 1 else ''}"
    early = last.server.round < federation.settings.rounds
    stopped = f"no score has improved in {evaluations} on validation data" if early else None
    return {"rounds": last.server.round, "stopped": stopped, "best": last.best}


def _judge(
    arm: Arm, federation: Federation, engine: PlayingEngine, folder: ArmFolder, checkpoints: CheckpointManager
) -> dict[str, Any]:
    """Read the test data, once: at each evaluation point, the model of the round that validation chose."""
    test, panels = {}, {}
    points = arm.experiment.federation.evaluate
    for point in points:
        chosen = read_best(folder, checkpoints, point)
        engine.restore(chosen.clients)
        test[point] = _scores(federation.evaluate(chosen.server, "test", point))
        if point == points[0]:
            broadcast = arm.algorithm.broadcast(chosen.server)
            shown = {
                client: engine.show(
                    broadcast.with_message(arm.algorithm.message(chosen.server, client)), client, point, PANELS
                )
                for client in arm.evaluated
            }
            panels = {client: _save_panels(folder.path, client, pictures) for client, pictures in shown.items()}
    return {"test": test, "panels": panels}


def read_best(folder: ArmFolder, checkpoints: CheckpointManager, point: EvaluationPoint) -> Checkpoint:
    """Return the best checkpoint of an evaluation point.

    Raises:
        CheckpointError: it is missing or damaged; says what to do.
    """
    try:
        return checkpoints.read_best(point)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} Remove the folder {folder.path} and resume: this arm is then run anew."
        ) from None


def _holdings(stats: ClientStats) -> dict[str, Any]:
    return {key: value for key, value in asdict(stats).items() if key != "name"}


def _scores(event: EvaluationEvent) -> dict[str, Any]:
    return {
        client: {"numbers": s.numbers, "tables": {name: table.tolist() for name, table in s.tables.items()}}
        for client, s in event.scores.items()
    }


def _save_panels(folder: Path, client: str, panels: Iterable[Panel]) -> list[dict[str, Any]]:
    place = folder / "pictures"
    place.mkdir(exist_ok=True)

    def save(picture: Picture, name: str) -> dict[str, str]:
        path = place / f"{quote(client, safe=' ')}-{name}.png"  # a client may be called PET/CT
        Image.fromarray(picture.pixels).save(path)
        return {"title": picture.title, "file": str(path.relative_to(folder))}

    return [
        {
            "given": [save(picture, f"{number}-{place}") for place, picture in enumerate(panel.given)],
            "found": panel.found and save(panel.found, f"{number}-found"),
            "caption": panel.caption,
            "right": panel.right,
            "question": panel.question,
        }
        for number, panel in enumerate(panels)
    ]


def weights_sha256(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of all that was learned: the shared weights, and the digest of what each client keeps."""
    parts = [digest(checkpoint.server.shared)]
    parts += [f"{name}:{found}" for name, found in sorted(digests_of(checkpoint.clients).items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
