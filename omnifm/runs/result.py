"""The end of an arm: the test of its best models, and what ``result.json`` says of them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import partial
from typing import Any

from omnifm.callbacks.events import EvaluationEvent
from omnifm.checkpoint.client_store import digests_of
from omnifm.checkpoint.manager import CheckpointManager
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.tensors import digest
from omnifm.federation.loop import Federation
from omnifm.runs.arm import Arm, DataSpec
from omnifm.runs.arm_folder import ArmFolder
from omnifm.runs.panels import save_panels

PANELS = 6


def about(name: str, arm: Arm, data_spec: DataSpec) -> dict[str, Any]:
    """Return the arm's name and its clients' numbers of examples."""
    return {
        "arm": name,
        "algorithm": arm.experiment.algorithm,
        "seed": arm.experiment.seed,
        "main_metric": arm.task.main_metric,
        "lower_is_better": list(arm.task.lower_is_better),
        "label_names": list(data_spec.shape.label_names),
        "clients": {one.pop("name"): one for one in map(asdict, data_spec.client_stats)},
    }


def ending(federation: Federation, last: Checkpoint) -> dict[str, Any]:
    """Return the number of rounds, the reason of an early stop, the best rounds, and the final hash."""
    stopped = federation.stop.reason if federation.stop and last.server.round < federation.settings.rounds else None
    return {"rounds": last.server.round, "stopped": stopped, "best": last.best, "weights_sha256": weights_sha256(last)}


def tested(
    arm: Arm, federation: Federation, folder: ArmFolder, checkpoints: CheckpointManager, keep: bool
) -> dict[str, Any]:
    """Read the test data, once: at each evaluation point, the model of the round that validation chose.

    With ``keep`` the clients' models are kept that could not be loaded without the data.
    """
    engine = federation.engine
    test, panels = {}, {}
    points = arm.experiment.federation.evaluate
    for point in points:
        chosen = folder.read_best(checkpoints, point)
        engine.restore(chosen.clients)
        test[point] = _scores(federation.evaluate(chosen.server, "test", point))
        if keep and point == "before_local_training":
            folder.models.keep(arm, chosen)
        if point == points[0]:
            broadcast, message = arm.algorithm.broadcast(chosen.server), partial(arm.algorithm.message, chosen.server)
            shown = {
                client: engine.show(broadcast.with_message(message(client)), client, point, PANELS)
                for client in arm.evaluated
            }
            panels = {client: save_panels(folder.path, client, pictures) for client, pictures in shown.items()}
    return {"test": test, "panels": panels}


def weights_sha256(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of all that was learned: the shared weights, and the digest of what each client keeps."""
    parts = [digest(checkpoint.server.shared)]
    parts += [f"{name}:{found}" for name, found in sorted(digests_of(checkpoint.clients).items())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _scores(event: EvaluationEvent) -> dict[str, Any]:
    return {
        client: {"numbers": s.numbers, "tables": {name: table.tolist() for name, table in s.tables.items()}}
        for client, s in event.scores.items()
    }
