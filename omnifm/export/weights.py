"""A run's model, taken out of its folder: one file of weights, and what other libraries read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from omnifm.checkpoint.client_store import RemoteStateStore
from omnifm.checkpoint.kept_weights import FILE
from omnifm.checkpoint.weight_file import write_weights
from omnifm.config.experiment import Plan
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import ClientState
from omnifm.core.tensors import Tensors
from omnifm.data.federated_dataset import load_dataset
from omnifm.runs.arm import Arm, build_arm, make_arm
from omnifm.runs.folder import ArmFolder
from omnifm.runs.initial_weights import travels
from omnifm.runs.run import arm_folder
from omnifm.utils.errors import CheckpointError, ExperimentError, did_you_mean


def export_arm(out: Path, plan: Plan, name: str | None, client: str | None, folder: Path) -> list[str]:
    """Write the model of an arm's best round into a folder, and return the names of the tensors that it lacks.

    It is the model as received by ``client``, its personal tensors among them; without a client the shared ones only.
    Of a run over the network only these are here.
    The network's own format is written too, where it has one and no tensor of the network is lacking.

    Raises:
        ExperimentError: there is no such arm or client, the arm shares nothing, or the folder holds a model already.
        CheckpointError: the arm has no sound checkpoint of its best round.
    """
    if (folder / FILE).exists():
        raise ExperimentError(f"{folder} holds a model already. Give another folder.")
    name = _chosen_arm(plan, name)
    place = arm_folder(out, name)
    if client is None:
        data_spec, _ = place.read_data()
        arm = build_arm(replace(plan.arms[name], device="cpu"), data_spec, place.kept)
    else:
        arm = _arm_with_data(plan, name, place, client)
    tensors = _model(arm, _best(arm, place), client)
    lacking = [own for own in arm.runtime.initial if travels(own) and own not in tensors]
    if not any(map(travels, tensors)):
        raise ExperimentError(f"Arm {name!r} shares no weights: name a client, whose model is to be written.")
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / FILE, tensors, arm.origin)
    if not any(own.startswith("network.") for own in lacking):
        arm.runtime.model.network.export(folder)
    return lacking


def write_start(out: Path, plan: Plan, name: str, file: Path) -> None:
    """Write what others may start from of the best round of an arm that pools all data, in one file."""
    place = arm_folder(out, name)
    arm = _arm_with_data(plan, name, place)
    everything = _model(arm, _best(arm, place), arm.participants[0])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_weights(file, {own: value for own, value in everything.items() if travels(own)}, arm.origin)


def _chosen_arm(plan: Plan, name: str | None) -> str:
    if name is None and len(plan.arms) > 1:
        raise ExperimentError(f"The run has several arms: name one of them with --arm: {', '.join(plan.arms)}.")
    chosen = next(iter(plan.arms)) if name is None else name
    if chosen not in plan.arms:
        raise ExperimentError(f"--arm: there is no {chosen!r}. {did_you_mean(chosen, plan.arms)}")
    return chosen


def _arm_with_data(plan: Plan, name: str, place: ArmFolder, client: str = "") -> Arm:
    """Put an arm together for the clients whose states are beside its checkpoints."""
    _, here = place.read_data()
    if not here:
        raise ExperimentError(f"--client: what is {client}'s own has stayed with it. Leave --client out.")
    experiment = plan.arms[name]
    return make_arm(experiment, load_dataset(experiment.data, experiment.partition, experiment.seed), place.kept)


def _best(arm: Arm, place: ArmFolder) -> Checkpoint:
    """Return the best checkpoint as received, or at the one evaluation point that was judged."""
    point = arm.experiment.federation.evaluate[0]
    checkpoints = place.checkpoints(None if arm.runtime.clients else RemoteStateStore())
    if not checkpoints.has_best(point):
        raise CheckpointError(f"{place.path} has no round that validation chose yet. Go on with the run first.")
    return place.read_best(checkpoints, point)


def _model(arm: Arm, chosen: Checkpoint, client: str | None) -> Tensors:
    broadcast, runtime = arm.algorithm.broadcast(chosen.server), arm.runtime
    if client is None:
        whole = {name: value for name, value in broadcast.shared.items() if name in runtime.initial}
        runtime.weights.load(whole)
    elif client in runtime.clients:
        received = broadcast.with_message(arm.algorithm.message(chosen.server, client))
        whole = runtime.model(received, client, chosen.clients.get(client, ClientState()))
    else:
        raise ExperimentError(f"--client: there is no {client!r}. {did_you_mean(client, runtime.clients)}")
    return {name: value for name, value in whole.items() if name.startswith(("network.", "adapter."))}
