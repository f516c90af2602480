"""A hospital's own model of a run that it took part in: of the run's folder, and of what it has kept itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from omnifm.checkpoint.client_store import ClientStateStore, digests_of, file_name
from omnifm.config.experiment import Plan
from omnifm.core.records import ClientState
from omnifm.engines.flower.client_config import ClientConfig
from omnifm.engines.flower.config_exchange import load_client_data, localise, public_config
from omnifm.engines.flower.policy import reject_experiment
from omnifm.export.loaded_arm import LoadedArm
from omnifm.runs.arm import make_arm
from omnifm.runs.client_labels import labels_of_clients
from omnifm.utils.errors import DeploymentError


def add_own_model(config: ClientConfig, run: Path, plan: Plan, name: str | None = None) -> LoadedArm:
    """Add a hospital's model of the best round to its copy of a run's folder, and return the arm.

    ``LoadedArm.model`` then finds it by the hospital's name, without the data, and so do ``omnifm predict`` and
    ``omnifm export``. It holds the weights that all share, those of the hospital's circle, and its personal parts, or
    what the hospital's validation data accept of them. Nothing leaves the machine.

    Args:
        config: of the hospital.
        run: the copy.
        plan: of the run.
        name: of the arm; not needed if there is one.

    Raises:
        ExperimentError: there is no such arm, or several.
        DeploymentError: the hospital's policy does not permit the experiment, it took no part in the run, or what it
            kept of it is gone.
        CheckpointError: no round was chosen yet, or a file is damaged.
        DataError: the hospital's data cannot be read.
    """
    loaded = LoadedArm.of(run, plan, name)
    experiment = localise(public_config(loaded.experiment), config)
    if reason := reject_experiment(config.policy, experiment):
        raise DeploymentError(f"The policy of {config.name} does not permit this run: {reason}")
    spec, _ = loaded.folder.read_data()
    if config.name not in (known := [one.name for one in spec.client_stats]):
        raise DeploymentError(f"{config.name} took no part in this run. Its hospitals are: {', '.join(known)}.")
    dataset = load_client_data(experiment, config, spec.shape.label_names)
    dataset = replace(dataset, vocabulary=spec.shape.vocabulary)
    arm = make_arm(experiment, dataset, loaded.folder.kept, one_of_many=True, most=config.policy.parameters)
    best = loaded.best
    state = _kept(config, loaded.name, digests_of(best.clients).get(config.name))
    loaded.folder.models.keep(arm, replace(best, clients={config.name: state}), always=True)
    loaded.folder.add_labels(*labels_of_clients(arm.runtime.clients, spec.shape.label_names))
    return loaded


def _kept(config: ClientConfig, arm: str, digest: str | None) -> ClientState:
    """Return the state of this digest, of whichever run it is."""
    if digest is None:
        return ClientState()
    folder, place = config.state_folder / "runs", f"{file_name(arm)}/{file_name(config.name)}/{digest}.safetensors"
    for path in folder.glob(f"*/{place}"):
        return ClientStateStore(path.parents[1]).read_checked(config.name, digest)
    raise DeploymentError(
        f"{folder} holds no state of {config.name} after the best round of this run (*/{place}): the run is another "
        "one, or its states were removed (keep_days and keep_runs in client.toml)."
    )
