"""OmniFM's engine: FedAvg over forked workers, one a core, on a task made of the workload's network."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.algorithms.fedavg import FedAvg
from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import EvaluationEvent
from omnifm.config.experiment import FederationSettings
from omnifm.core.checkpoint import Checkpoint
from omnifm.data.client_stats import ClientStats
from omnifm.data.subset import Batch, ClientData, Subset
from omnifm.engines.in_process import InProcess
from omnifm.federation.client import ClientRuntime
from omnifm.federation.loop import Federation
from omnifm.tasks.task import Encoded, Panel, Scores, Task, TaskNetwork
from omnifm.training.model import FederatedModel
from omnifm.training.settings import TrainingSettings
from omnifm.workers.pool import auto_workers
from peers.contest import Contest
from peers.networks import CLASSES, Network
from peers.workloads import Workload


class Halves(TaskNetwork):
    """The workload's network as ``encode`` and ``decode``: its features are one token."""

    pooled = True

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.width, self.backbone, self.head = net.width, net.features, net.head

    def encode(self, batch: Batch) -> Encoded:
        """Return ``(batch, 1, width)``."""
        return Encoded(self.backbone(batch["image"]).unsqueeze(1))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        """Return logits ``(batch, 10)``."""
        logits: Tensor = self.head(tokens.squeeze(1))
        return logits


class Hits:
    """The share of images with the right class."""

    def __init__(self) -> None:
        self.hits: list[Tensor] = []

    def update(self, prediction: Tensor, batch: Batch) -> None:
        """Add one batch."""
        self.hits.append(prediction.argmax(dim=1) == batch["label"])

    def compute(self) -> Scores:
        """Return the accuracy."""
        return Scores({"accuracy": float(torch.cat(self.hits).float().mean())}, {})


class Categorical(Task):
    """The task: one of ten classes an image, plain cross-entropy, nothing augmented."""

    main_metric = "accuracy"
    classes = CLASSES

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    def network(self) -> Halves:
        """Build the network with its first weights."""
        return Halves(self.workload.first_network())

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the cross-entropy."""
        return F.cross_entropy(prediction, batch["label"])

    def labels(self, batch: Batch) -> Tensor:
        """Return the classes ``(batch, 1)``."""
        return batch["label"].unsqueeze(1)

    def metric(self, train: Subset) -> Hits:
        """Return an empty metric."""
        return Hits()

    def visualise(self, prediction: Tensor, batch: Batch) -> list[Panel]:
        """Show nothing."""
        return []


class Notes(Callback):
    """Notes the end of each round."""

    def __init__(self, contest: Contest) -> None:
        self.contest = contest

    def on_evaluate(self, event: EvaluationEvent) -> None:
        """Take the mean over the clients, which have equally many held-out images."""
        self.contest.round_done(event.mean("accuracy"))


def split_clients(contest: Contest) -> dict[str, ClientData]:
    """Return the clients, each with its share of the held-out images."""

    def examples(images: Tensor, labels: Tensor) -> Subset:
        return Subset({"image": images, "label": labels}, tuple(f"{name}/{row}" for row in range(len(labels))))

    clients, workload = {}, contest.workload
    images, labels = contest.images.held_out()
    share = workload.held_out // workload.clients
    for number in range(workload.clients):
        name, rows = f"client{number}", slice(number * share, (number + 1) * share)
        train, evaluated = examples(*contest.images.client(number)), examples(images[rows], labels[rows])
        clients[name] = ClientData(name, name, train, evaluated, evaluated)
    return clients


def main() -> None:
    contest = Contest.from_arguments()
    workload, algorithm = contest.workload, FedAvg()
    task = Categorical(workload)
    model = FederatedModel(task.network(), None).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    clients = split_clients(contest)
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    training = TrainingSettings(
        batch_size=workload.batch,
        learning_rate=workload.rate,
        momentum=workload.momentum,
        weight_decay=0.0,
        clip_norm=0.0,
        statistics="running",  # as for all others
    )
    runtime = ClientRuntime(
        model=model,
        task=task,
        algorithm=algorithm,
        training=training,
        clients=clients,
        initial=initial,
        personal=frozenset(),
        seed=0,
        rounds=contest.rounds,
    )
    settings = FederationSettings(
        rounds=contest.rounds,
        participation=workload.per_round / workload.clients,
        evaluate_every=1,
        evaluate=("before_local_training",),
    )
    stats = [ClientStats.of(client) for client in clients.values()]
    start = Checkpoint(algorithm.init(initial, [name for name, _ in model.named_parameters()], stats))
    with InProcess(runtime, auto_workers()) as engine:
        names = tuple(clients)
        federation = Federation(
            algorithm,
            engine,
            participants=names,
            evaluated=names,
            settings=settings,
            seed=0,
            metric=task.main_metric,
            callbacks=[Notes(contest)],
        )
        federation.run(start)
    contest.report()


if __name__ == "__main__":
    main()
