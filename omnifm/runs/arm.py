"""One arm of an experiment: task, model, algorithm and federation.

It is built from properties of the data, not from the data: the server of a deployment has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from omnifm.algorithms.algorithm import Algorithm
from omnifm.callbacks.callback import Callback
from omnifm.callbacks.early_stopping import EarlyStopping
from omnifm.callbacks.events import ArmInfo, RunInfo
from omnifm.checkpoint.kept_weights import SCRATCH, KeptWeights, find_weights
from omnifm.checkpoint.weight_file import Origin
from omnifm.config.experiment import Experiment, to_document
from omnifm.core.checkpoint import Checkpoint
from omnifm.data.client_stats import ClientStats
from omnifm.data.federated_dataset import FederatedDataset, pooled
from omnifm.data.subset import ClientData
from omnifm.federation.client import ClientRuntime
from omnifm.federation.loop import Engine, Federation
from omnifm.networks.size import size_limited
from omnifm.privacy.settings import make_steps
from omnifm.runs.arm_algorithm import (
    acceptance_of,
    adapter_settings,
    adapter_wanted,
    algorithm_of,
    secure_sum_of,
    training_of,
)
from omnifm.runs.initial_weights import origin_of, start_from
from omnifm.runs.privacy_plan import checked_plan
from omnifm.spectral.adapter import SpectralAdapter
from omnifm.tasks.fitness import check_data_serve
from omnifm.tasks.registry import make_task
from omnifm.tasks.task import DataShape, Task
from omnifm.training.model import FederatedModel
from omnifm.training.weight_cache import learned_state_dict
from omnifm.utils.errors import ExperimentError, IncompatibleError
from omnifm.utils.seeding import derive_seed


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The properties of the data that an arm depends on; ``channels`` and ``axes`` are those of prepared images."""

    shape: DataShape
    channels: int
    axes: int
    client_stats: tuple[ClientStats, ...]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An experiment with its data, before anything has run; ``origin`` describes what its weights are for."""

    experiment: Experiment
    data_spec: DataSpec
    task: Task
    algorithm: Algorithm
    runtime: ClientRuntime
    participants: tuple[str, ...]
    origin: Origin

    @property
    def evaluated(self) -> tuple[str, ...]:
        """The names of the clients, all of which are evaluated."""
        return tuple(one.name for one in self.data_spec.client_stats)

    def start(self) -> Checkpoint:
        """Return the state before the first round."""
        runtime = self.runtime
        shared = {name: value for name, value in runtime.initial.items() if name not in runtime.personal}
        trainable = [name for name, p in runtime.model.named_parameters() if p.requires_grad and name in shared]
        stats = {one.name: one for one in self.data_spec.client_stats}
        clients = [stats.get(name) or ClientStats.of(runtime.clients[name]) for name in self.participants]
        return Checkpoint(self.algorithm.init(shared, trainable, clients))

    @property
    def caution(self) -> str:
        """What the clients cannot take part in for want of patients; usually nothing. Their data are here."""
        training = {name: client.train for name, client in self.runtime.clients.items()}
        return self.algorithm.caution({name: len(set(part.patients)) for name, part in training.items()})

    def info(self, run: RunInfo | None = None, name: str = "", folder: Path = Path()) -> ArmInfo:
        """Return the description of this arm for callbacks."""
        experiment, federation = self.experiment, self.experiment.federation
        return ArmInfo(
            run=run or RunInfo(),
            name=name or experiment.algorithm,
            folder=folder,
            seed=experiment.seed,
            rounds=federation.rounds,
            metric=self.task.main_metric,
            points=federation.evaluate,
            experiment=to_document(experiment),
        )

    def federation(self, engine: Engine, callbacks: Iterable[Callback] = (), info: ArmInfo | None = None) -> Federation:
        """Return the round loop of this arm on an engine, with early stopping if the settings have a patience."""
        experiment, settings = self.experiment, self.experiment.federation
        stopping = [EarlyStopping(settings.patience, settings.evaluate_every)] if settings.patience else []
        return Federation(
            self.algorithm,
            engine,
            participants=self.participants,
            evaluated=self.evaluated,
            settings=settings,
            seed=experiment.seed,
            metric=self.task.main_metric,
            callbacks=[*stopping, *callbacks],
            info=info or self.info(),
            steps=self.runtime.steps,
            checks=experiment.checks,
            summed=self.runtime.secure_sum is not None,
        )


def make_arm(
    experiment: Experiment,
    dataset: FederatedDataset,
    kept: KeptWeights | None = None,
    *,
    one_of_many: bool = False,
    most: int = 0,
) -> Arm:
    """Build an arm for clients whose data are on this machine.

    Initial weights are read from the ``kept`` copies, if given. ``one_of_many`` says that other clients are elsewhere,
    so that nothing can be said about their number. The network may hold at most ``most`` numbers (0: any number).

    Raises:
        NetworkSizeError: it would hold more; where they can be counted so, before it takes the memory for them.
        ExperimentError: the network has no such part as ``federation.personal`` names, the algorithm cannot serve the
            task or the optimiser, a client has the name of the pooled data, or the initial weights do not fit.
        CheckpointError: the initial weights cannot be read.
    """
    clients = {client.name: client for client in dataset.clients}
    data_spec, task = _described(experiment, dataset)
    origin = origin_of(experiment, data_spec.shape)
    if most:
        check_size(experiment, data_spec, origin, most)
    with size_limited(most) if most else nullcontext():
        arm = _build_arm(experiment, task, data_spec, origin, clients, kept, one_of_many)
    if not arm.algorithm.pools_data:
        return arm
    everyone = pooled(dataset)
    if everyone.name in clients:
        raise ExperimentError(f"A hospital is called {everyone.name!r}, the name of the pooled data of all: rename it.")
    runtime = replace(arm.runtime, clients={**clients, everyone.name: everyone})
    return replace(arm, runtime=runtime, participants=(everyone.name,))


def describe_data(experiment: Experiment, dataset: FederatedDataset) -> DataSpec:
    """Return the properties of these data that an arm depends on."""
    return _described(experiment, dataset)[0]


def build_arm(experiment: Experiment, data_spec: DataSpec, kept: KeptWeights | None = None) -> Arm:
    """Build an arm from properties of the data, for clients all of which train elsewhere.

    Raises:
        ExperimentError, CheckpointError: as :func:`make_arm`.
    """
    task, origin = _task(experiment, data_spec.shape), origin_of(experiment, data_spec.shape)
    return _build_arm(experiment, task, data_spec, origin, {}, kept)


def count_parameters(experiment: Experiment, data_spec: DataSpec, most: int = 0) -> int:
    """Count the numbers that an arm's network holds, without taking the memory for them.

    Raises:
        NetworkSizeError: they are more than ``most`` (0: any number).
        RuntimeError: the network is one that cannot be built without its memory, such as one read from files.
    """
    task, algorithm = _task(experiment, data_spec.shape), algorithm_of(experiment, None)
    with size_limited(most) as size, torch.device("meta"):
        _assembled(experiment, task, algorithm, data_spec)
    return size.numbers


_counted: dict[tuple[str, DataSpec], int] = {}
"""How many numbers the networks have that were counted last, by the digest of the experiment and the data's form."""
_MOST_COUNTED = 16


def check_size(experiment: Experiment, data_spec: DataSpec, origin: Origin, most: int) -> None:
    """Check that the network for these data holds no more than so many numbers, before it takes the memory for them.

    One that cannot be built without its memory is not counted here. The number is remembered: a hospital asks for that
    of the same network in every round.

    Raises:
        NetworkSizeError: it holds more.
    """
    key = origin.experiment, data_spec
    if 0 < _counted.get(key, 0) <= most:
        return
    if len(_counted) >= _MOST_COUNTED:
        _counted.clear()
    with suppress(RuntimeError, ValueError):
        _counted[key] = count_parameters(experiment, data_spec, most)


def _task(experiment: Experiment, shape: DataShape) -> Task:
    return make_task(experiment.task, experiment.sections[experiment.task], shape)


def _described(experiment: Experiment, dataset: FederatedDataset) -> tuple[DataSpec, Task]:
    """Return the properties of these data that an arm depends on, and the task for their shape."""
    first = dataset.clients[0].train.batch(torch.tensor([0]))
    _, channels, *size = first["image"].shape
    check_data_serve(experiment.task, first, len(size))
    shape = DataShape(channels, tuple(size), dataset.label_names, dataset.vocabulary)
    task = _task(experiment, shape)
    prepared = task.prepare_batch(first)["image"]
    client_stats = tuple(ClientStats.of(client) for client in dataset.clients)
    return DataSpec(shape=shape, channels=prepared.shape[1], axes=prepared.dim() - 2, client_stats=client_stats), task


def _build_arm(
    experiment: Experiment,
    task: Task,
    data_spec: DataSpec,
    origin: Origin,
    clients: Mapping[str, ClientData],
    kept: KeptWeights | None,
    one_of_many: bool = False,
) -> Arm:
    algorithm = algorithm_of(experiment, None if one_of_many else len(data_spec.client_stats))
    model = _build_model(experiment, task, algorithm, data_spec)
    if experiment.init != SCRATCH:
        start_from(model, experiment.init, _weights(experiment.init, kept), origin)
    plan = checked_plan(experiment, algorithm, task, model)
    origin = replace(origin, privacy=plan.promise if plan else {})
    model.personal_names(algorithm.in_circles)  # raises if there is no such part
    at_home = () if algorithm.pools_data else experiment.federation.personal  # pooled, there is no home to stay at
    personal = model.personal_names([*at_home, *task.personal, *algorithm.personal])
    initial = {name: value.detach().cpu().clone() for name, value in learned_state_dict(model).items()}
    runtime = ClientRuntime(
        model=model,
        task=task,
        algorithm=algorithm,
        training=training_of(experiment, algorithm),
        clients=clients,
        initial=initial,
        personal=personal,
        seed=experiment.seed,
        rounds=experiment.federation.rounds,
        steps=make_steps(experiment.privacy),
        acceptance=acceptance_of(experiment, algorithm),
        secure_sum=secure_sum_of(experiment, algorithm),
        privacy=plan,
    )
    return Arm(
        experiment=experiment,
        data_spec=data_spec,
        task=task,
        algorithm=algorithm,
        runtime=runtime,
        participants=tuple(one.name for one in data_spec.client_stats),
        origin=origin,
    )


def _weights(init: str, kept: KeptWeights | None) -> Path:
    return find_weights(init) if kept is None else kept.find(init)


def _build_model(experiment: Experiment, task: Task, algorithm: Algorithm, data_spec: DataSpec) -> FederatedModel:
    """Build the model with initial weights from the seed.

    The task's network draws first, so that all arms start from the same one; then the adapter, then the companion.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(experiment.seed, "weights"))
        model = _assembled(experiment, task, algorithm, data_spec)
    layout = torch.channels_last if data_spec.axes == 2 else torch.channels_last_3d
    return model.to(device=experiment.device, memory_format=layout)  # type: ignore[call-overload, no-any-return]


def _assembled(experiment: Experiment, task: Task, algorithm: Algorithm, data_spec: DataSpec) -> FederatedModel:
    """Make the modules, whose weights torch's generator draws."""
    settings = adapter_settings(experiment, algorithm)
    if algorithm.adapter and settings.use == "off":
        raise IncompatibleError(
            f"adapter.use = 'off': {experiment.algorithm!r} makes its prototypes in the adapter. Leave adapter.use "
            f"out, or choose the algorithm that it builds upon."
        )
    network = task.network()
    form = (data_spec.channels, data_spec.axes, network.width, task.normalised_tokens)
    adapter = SpectralAdapter(settings, *form) if adapter_wanted(experiment, algorithm) else None
    return FederatedModel(network, adapter, algorithm.companion(network, task))
