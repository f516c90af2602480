"""One arm, run into its folder: the rounds with their log and checkpoints, then the test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from omnifm.callbacks.callback import Callback, notify_at_end
from omnifm.callbacks.events import ArmEnd, RunInfo
from omnifm.callbacks.recorder import Recorder
from omnifm.config.experiment import Experiment, to_document
from omnifm.config.toml import to_toml
from omnifm.core.checkpoint import Checkpoint
from omnifm.runs.arm_folder import ArmFolder
from omnifm.runs.backend import Backend
from omnifm.runs.client_labels import labels_of_clients
from omnifm.runs.result import about, ending, tested
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import ExperimentError, OutOfTime
from omnifm.utils.signals import cooperative


def run_arm(
    name: str,
    experiment: Experiment,
    backend: Backend,
    folder: ArmFolder,
    run: RunInfo | None = None,
    callbacks: Sequence[Callback] = (),
    test: bool = True,
    keep_models: bool = True,
) -> Checkpoint:
    """Run the rounds that the folder still lacks and write ``result.json``; without ``test``, the rounds only.

    With ``keep_models`` the models of clients on this machine can be loaded from the folder without their data.

    Raises:
        OutOfTime: a callback has asked to pause before the last round.
        ExperimentError: a callback has stopped the arm before any round was evaluated.
        DataError: the arm has begun on other data.
    """
    arm = backend.arm(experiment, folder.kept)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_atomically(folder.path / "experiment.toml", to_toml(to_document(experiment)).encode())
    if backend.states is None:
        folder.check_data(arm.data_spec)
    allowed, exclusive = labels_of_clients(arm.runtime.clients, arm.data_spec.shape.label_names)
    folder.write_data(arm.data_spec, backend.states is None, allowed, exclusive)
    checkpoints = folder.checkpoints(backend.states)
    checkpoint = checkpoints.read_latest() or arm.start()
    folder.metrics.forget_after(checkpoint.server.round)
    info = arm.info(run or RunInfo(experiment.name, folder.path.parent), name, folder.path)
    with (
        cooperative(),
        backend.engine(name, arm, checkpoints) as engine,
        notify_at_end(callbacks, Callback.on_arm_end, partial(ArmEnd, info)),
    ):
        federation = arm.federation(engine, [Recorder(folder.metrics, checkpoints), *callbacks], info)
        last = federation.run(checkpoint)
        if federation.stop and federation.stop.pause and last.server.round < info.rounds:
            raise OutOfTime(federation.stop.reason)
        if lacking := [point for point in info.points if point not in last.best]:
            reason = federation.stop.reason if federation.stop else "there was no round"
            raise ExperimentError(
                f"Arm {name!r} ended before any round was evaluated ({reason}), so that no model of "
                f"{lacking[0]!r} can be chosen: lower federation.evaluate_every, or stop later."
            )
        if test:
            end = ending(federation, last)
            scores = tested(arm, federation, folder, checkpoints, keep_models and backend.states is None)
            found = {**about(name, arm, backend.data_spec(arm)), **end, **scores}
            write_atomically(folder.result, json.dumps(found, indent=1).encode())
    return last
