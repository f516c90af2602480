"""Two made tasks for the algorithms that split a network or look at its features, and rounds on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from helpers import Quadratic, made_holdings, plain_sgd
from torch import Tensor, nn

from omnifm.algorithms.algorithm import Algorithm
from omnifm.config.experiment import FederationSettings
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import ClientState
from omnifm.data.subset import Batch, ClientData, Subset
from omnifm.engines.in_process import InProcess
from omnifm.federation.client import ClientRuntime
from omnifm.federation.loop import Federation, sample
from omnifm.runs.arm import Arm
from omnifm.tasks.task import Encoded, Panel, Scores, Task, TaskNetwork
from omnifm.training.model import FederatedModel
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer


def played(arm: Arm) -> Checkpoint:
    """Play an arm's rounds, one client after another, and judge nobody."""
    server, settings = arm.start().server, arm.experiment.federation
    with InProcess(arm.runtime, 1) as engine:
        for number in range(1, settings.rounds + 1):
            chosen = sample(arm.participants, settings.participation, arm.experiment.seed, number)
            server = arm.algorithm.server_update(server, engine.update(arm.algorithm.broadcast(server), chosen))
        return Checkpoint(server, engine.states)


def own_trainer(arm: Arm, name: str, round_number: int = 1) -> Trainer:
    """Return a client's trainer at the first weights."""
    return arm.runtime._trainer(name, round_number)


def through_bytes(state: ClientState) -> ClientState:
    return ClientState.from_bytes(state.to_bytes())


class Line(TaskNetwork):
    """Two numbers, body ``weight`` and ``head``; the prediction is their product."""

    width = 1
    head: nn.Linear

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.head = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.head.weight)

    def encode(self, batch: Batch) -> Encoded:
        return Encoded(self.weight.expand(len(batch["image"]), 1, 1))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        return self.head(tokens).flatten()


def line_trainer(
    name: str,
    targets: Sequence[float],
    settings: TrainingSettings | None = None,
    personal: Sequence[str] = ("network.head.weight",),
) -> Trainer:
    """Return a client for which head times body should be the mean of its targets: ``0.5 (h w - target)^2``."""
    fields = {"image": torch.zeros(len(targets), 1, 2, 2), "target": torch.tensor(targets)}
    examples = Subset(fields, tuple(f"{name}/{row}" for row in range(len(targets))))
    client = ClientData(name, name, examples, examples, examples)
    return Trainer(FederatedModel(Line(), None), Quadratic(), client, settings or plain_sgd(), frozenset(personal), 0)


class DenseNetwork(TaskNetwork):
    """A quarter of the image a token, and a class for each: nothing is pooled."""

    width = 4
    backbone: nn.Sequential
    head: nn.Linear

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, self.width, 2, stride=2, bias=False), nn.BatchNorm2d(self.width), nn.ReLU()
        )
        self.head = nn.Linear(self.width, classes)

    def encode(self, batch: Batch) -> Encoded:
        return Encoded(self.backbone(batch["image"]).flatten(2).transpose(1, 2))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        return self.head(tokens)


class Hits:
    """The share of the positions with a class that are right."""

    def __init__(self) -> None:
        self.hits: list[Tensor] = []

    def update(self, prediction: Tensor, batch: Batch) -> None:
        known = batch["mask"] >= 0
        self.hits.append((prediction.argmax(dim=2) == batch["mask"])[known].float())

    def compute(self) -> Scores:
        return Scores({"hits": float(torch.cat(self.hits).mean())}, {})


class Dense(Task):
    """A class at each position of the encoder, ``mask`` ``(batch, L)``, -1 where there is none."""

    main_metric = "hits"
    classes = 3

    def network(self) -> DenseNetwork:
        return DenseNetwork(self.classes)

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(prediction.flatten(0, 1), batch["mask"].flatten(), ignore_index=-1)

    def labels(self, batch: Batch) -> Tensor:
        return batch["mask"]

    def metric(self, train: Subset) -> Hits:
        return Hits()

    def visualise(self, prediction: Tensor, batch: Batch) -> list[Panel]:
        return []


def dense_examples(name: str, count: int, seed: int) -> Subset:
    """Images of 4 x 4 with four positions, each dark, grey or bright as its class; one in nine has none."""
    draw = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 3, (count, 4), generator=draw)
    image = (mask / 3).unflatten(1, (1, 2, 2)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    image = image + 0.1 * torch.rand(image.shape, generator=draw)
    mask = mask.masked_fill(torch.rand(mask.shape, generator=draw) < 1 / 9, -1)
    return Subset({"image": image, "mask": mask}, tuple(f"{name}/{row}" for row in range(count)))


def dense_site(algorithm: Algorithm) -> ClientRuntime:
    """Two hospitals of 12 and 8 images."""
    task = Dense()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = task.network()
        model = FederatedModel(network, None, algorithm.companion(network, task))
    clients = {
        name: ClientData(name, name, *(dense_examples(name, count, seed + part) for part in range(3)))
        for name, count, seed in (("a", 12, 0), ("b", 8, 3))
    }
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    personal = model.personal_names(algorithm.personal)
    settings = plain_sgd(0.1, batch_size=4, epochs=2)
    return ClientRuntime(
        model=model,
        task=task,
        algorithm=algorithm,
        training=settings,
        clients=clients,
        initial=initial,
        personal=personal,
        seed=0,
        rounds=2,
    )


def dense_rounds(algorithm: Algorithm) -> tuple[Mapping[str, Tensor], Checkpoint]:
    """Return the first tensors and what there is after two rounds of the dense task."""
    runtime = dense_site(algorithm)
    shared = {name: value for name, value in runtime.initial.items() if name not in runtime.personal}
    start = Checkpoint(algorithm.init(shared, list(shared), made_holdings(len(runtime.clients))))
    names, settings = tuple(runtime.clients), FederationSettings(rounds=2, evaluate_every=2)
    with InProcess(runtime, 1) as engine:
        federation = Federation(
            algorithm, engine, participants=names, evaluated=names, settings=settings, seed=0, metric="hits"
        )
        return runtime.initial, federation.run(start)


def all_moved(first: Mapping[str, Tensor], last: Checkpoint) -> bool:
    """Tell whether all floats that travel have moved, and are numbers."""
    shared = last.server.shared
    moved = [not torch.equal(value, first[name]) for name, value in shared.items() if value.is_floating_point()]
    return len(moved) > 0 and all(moved) and all(bool(torch.isfinite(value).all()) for value in shared.values())
