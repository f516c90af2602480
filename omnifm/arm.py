"""One arm of an experiment, put together: task, pipeline, algorithm, engine and federation.

It is built from what must be known of the data, not from the data: the server of a deployment has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.registry import make_algorithm
from omnifm.data.cohort import Cohort, pooled
from omnifm.data.examples import ClientData
from omnifm.errors import ExperimentError, UnsuitableError
from omnifm.experiment import Experiment
from omnifm.federation import Callback, Engine, Federation, Snapshot
from omnifm.pipeline import Pipeline
from omnifm.pretrained.file import Origin
from omnifm.pretrained.given import SCRATCH, KeptWeights, find_weights
from omnifm.pretrained.start import origin_of, start_from
from omnifm.randomness import derive_seed
from omnifm.site import Site
from omnifm.spectral.adapter import SpectralAdapter
from omnifm.tasks.registry import make_task
from omnifm.tasks.task import DataShape, Task
from omnifm.training import TrainingSettings
from omnifm.weights import learned


@dataclass(frozen=True)
class Holding:
    """What is told of a hospital's data: its modality (or modalities) and its numbers of examples."""

    name: str
    group: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Outline:
    """What an arm must know of the data: their shape, and of a posed image its ``channels`` and spatial ``axes``."""

    shape: DataShape
    channels: int
    axes: int
    holdings: tuple[Holding, ...]


@dataclass(frozen=True)
class Arm:
    """What an experiment and its data determine, before anything has run; ``origin`` says what its model is for."""

    experiment: Experiment
    outline: Outline
    task: Task
    algorithm: Algorithm
    site: Site
    participants: tuple[str, ...]
    origin: Origin

    @property
    def judged(self) -> tuple[str, ...]:
        """The names of the hospitals, all of which are evaluated."""
        return tuple(holding.name for holding in self.outline.holdings)

    def start(self) -> Snapshot:
        """Return the state before the first round."""
        site = self.site
        shared = {name: value for name, value in site.initial.items() if name not in site.personal}
        trainable = [name for name, p in site.pipeline.named_parameters() if p.requires_grad and name in shared]
        return Snapshot(self.algorithm.init(shared, trainable, len(self.participants)))

    def federation(self, engine: Engine, callbacks: Iterable[Callback] = ()) -> Federation:
        """Return the round loop over an engine for this arm's site."""
        experiment = self.experiment
        return Federation(
            self.algorithm,
            engine,
            self.participants,
            self.judged,
            experiment.federation,
            experiment.seed,
            self.task.main_metric,
            callbacks,
        )


def make_arm(experiment: Experiment, cohort: Cohort, kept: KeptWeights | None = None) -> Arm:
    """Put an arm together for hospitals whose data are here.

    Weights that it starts from are read from the ``kept`` copies, if there are any.

    Raises:
        ExperimentError: the network has no such part as ``federation.personal`` names, the algorithm cannot serve the
            task or the optimiser, a hospital has the name that all of them have together, or the weights to start
            from do not fit.
        CheckpointError: the weights to start from cannot be read.
    """
    clients = {client.name: client for client in cohort.clients}
    outline, task = _looked_at(experiment, cohort)
    arm = _assembled(experiment, task, outline, clients, kept)
    if not arm.algorithm.pools_data:
        return arm
    everyone = pooled(cohort)
    if everyone.name in clients:
        raise ExperimentError(f"A hospital is called {everyone.name!r}, like all of them together: rename it.")
    site = replace(arm.site, clients={**clients, everyone.name: everyone})
    return replace(arm, site=site, participants=(everyone.name,))


def outlined(experiment: Experiment, cohort: Cohort) -> Outline:
    """Return what an arm must know of these data."""
    return _looked_at(experiment, cohort)[0]


def build_arm(experiment: Experiment, outline: Outline, kept: KeptWeights | None = None) -> Arm:
    """Put an arm together from what is known of the data, for hospitals all of which train elsewhere.

    Raises:
        ExperimentError, CheckpointError: as :func:`make_arm`.
    """
    return _assembled(experiment, _task(experiment, outline.shape), outline, {}, kept)


def _task(experiment: Experiment, shape: DataShape) -> Task:
    return make_task(experiment.task, experiment.sections[experiment.task], shape)


def _looked_at(experiment: Experiment, cohort: Cohort) -> tuple[Outline, Task]:
    """Return what an arm must know of these data, and the task, made for their shape."""
    first = cohort.clients[0].train.batch(torch.tensor([0]))
    _, channels, *size = first["image"].shape
    shape = DataShape(channels, tuple(size), cohort.label_names, cohort.vocabulary)
    task = _task(experiment, shape)
    posed = task.pose(first)["image"]
    holdings = tuple(
        Holding(client.name, client.group, len(client.train), len(client.validation), len(client.test))
        for client in cohort.clients
    )
    return Outline(shape, posed.shape[1], posed.dim() - 2, holdings), task


def _assembled(
    experiment: Experiment, task: Task, outline: Outline, clients: Mapping[str, ClientData], kept: KeptWeights | None
) -> Arm:
    algorithm = make_algorithm(experiment.algorithm, experiment.sections, experiment.bank)
    pipeline, origin = _build(experiment, task, algorithm, outline), origin_of(experiment, outline.shape)
    if experiment.init != SCRATCH:
        start_from(pipeline, experiment.init, _weights(experiment.init, kept), origin)
    personal = pipeline.personal_names([*experiment.federation.personal, *task.personal, *algorithm.personal])
    initial = {name: value.detach().cpu().clone() for name, value in learned(pipeline).items()}
    site = Site(
        pipeline,
        task,
        algorithm,
        _training(experiment, algorithm),
        clients,
        initial,
        personal,
        experiment.seed,
        experiment.federation.rounds,
    )
    participants = tuple(holding.name for holding in outline.holdings)
    return Arm(experiment, outline, task, algorithm, site, participants, origin)


def _weights(init: str, kept: KeptWeights | None) -> Path:
    return find_weights(init) if kept is None else kept.find(init)


def _training(experiment: Experiment, algorithm: Algorithm) -> TrainingSettings:
    """Take the momentum away from an algorithm whose rule has none."""
    if not algorithm.plain_sgd:
        return experiment.training
    if experiment.training.optimizer != "sgd":
        raise UnsuitableError(
            f"training.optimizer = {experiment.training.optimizer!r}: the rule of {experiment.algorithm!r} holds for "
            f"plain SGD only. Set training.optimizer = 'sgd', or choose another algorithm."
        )
    return replace(experiment.training, momentum=0.0)


def _build(experiment: Experiment, task: Task, algorithm: Algorithm, outline: Outline) -> Pipeline:
    """Draw the first weights from the seed; the task's own network draws first, so all arms share its start.

    The adapter draws next, the algorithm's companion last.
    """
    settings = experiment.adapter
    wanted = algorithm.adapter if settings.use == "auto" else settings.use == "on"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(experiment.seed, "weights"))
        network = task.network()
        adapter = SpectralAdapter(settings, outline.channels, outline.axes, network.width) if wanted else None
        pipeline = Pipeline(network, adapter, algorithm.companion(network, task))
    layout = torch.channels_last if outline.axes == 2 else torch.channels_last_3d
    return pipeline.to(device=experiment.device, memory_format=layout)  # type: ignore[call-overload, no-any-return]
