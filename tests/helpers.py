"""Small made hospitals and problems that the tests share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import CheckpointEvent
from omnifm.config.experiment import Experiment, make_experiment
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.data.client_stats import ClientStats
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import Batch, ClientData, Subset
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import Arm, make_arm
from omnifm.tasks.task import Encoded, Panel, Scores, Task, TaskNetwork
from omnifm.training.model import FederatedModel
from omnifm.training.private_trainer import PrivateTrainer
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer

torch.set_num_threads(1)  # as in the engine: on small tensors, threads that wait for each other take seconds

LABELS = ("lying", "standing", "crossed")


def unit(*rows: Sequence[float]) -> Tensor:
    """Return rows of Euclidean norm 1."""
    return F.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


def random_units(count: int, dim: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def made_examples(name: str, count: int, classes: Sequence[int], seed: int, size: int = 16) -> Subset:
    """Noise over a pattern that tells the class: lying stripes, standing ones, or both crossed."""
    label = torch.tensor([classes[row % len(classes)] for row in range(count)], dtype=torch.int64)
    stripes = (torch.arange(size) // 2 % 2).float().expand(size, size)
    patterns = torch.stack([stripes.T, stripes, (stripes + stripes.T) / 2])
    noise = torch.rand(count, size, size, generator=torch.Generator().manual_seed(seed))
    image = (0.6 * patterns[label] + 0.4 * noise).unsqueeze(1)
    allowed = torch.zeros(len(LABELS), dtype=torch.bool)
    allowed[list(classes)] = True
    fields = {
        "image": image,
        "target": F.one_hot(label, len(LABELS)).to(torch.uint8),
        "allowed": allowed.expand(count, -1),
        "exclusive": torch.ones(count, dtype=torch.bool),
    }
    return Subset(fields, tuple(f"{name}/{seed}/{row}" for row in range(count)))


def made_client(name: str, group: str, classes: Sequence[int], seed: int, train: int = 24) -> ClientData:
    made = [made_examples(name, n, classes, 3 * seed + k) for k, n in enumerate((train, 12, 12))]
    return ClientData(name, group, *made)


def made_dataset() -> FederatedDataset:
    """Three hospitals of two modalities and different sizes and classes."""
    return FederatedDataset(
        (
            made_client("CT-1", "CT", (0, 1), 1, train=24),
            made_client("CT-2", "CT", (0, 1, 2), 2, train=18),
            made_client("MRI", "MRI", (1, 2), 3, train=12),
        ),
        LABELS,
    )


def made_holdings(count: int) -> list[ClientStats]:
    """Return what is told of so many clients."""
    return [ClientStats(f"client {number}", "CT", 10, 2, 2) for number in range(count)]


def small_experiment(algorithm: str, **changes: Any) -> Experiment:
    document: dict[str, Any] = {
        "algorithm": algorithm,
        "classification": {"width": 8},
        "training": {"batch_size": 8},
        "federation": {"rounds": 2, "evaluate_every": 2},
        "adapter": {"grid": 7, "token_dim": 8, "neighbours": 3},
        "bank": {"prototypes": 3, "min_cluster": 4},
    }
    for key, value in changes.items():
        document[key] = {**document.get(key, {}), **value} if isinstance(value, dict) else value
    return make_experiment(document)


def small_arm(algorithm: str, dataset: FederatedDataset | None = None, **changes: Any) -> Arm:
    """Build an arm; OmniFM in the paper's form, all shared but the suffix, unless ``omnifm`` says otherwise."""
    changes.setdefault("omnifm", {"variant": "paper"})
    return make_arm(small_experiment(algorithm, **changes), made_dataset() if dataset is None else dataset)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Tell whether two sets of named tensors are the same to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Offset(nn.Module):
    """One number that no gradient moves."""

    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bias", torch.zeros(1))


class Scalar(TaskNetwork):
    """One number ``weight`` to be learned, and a fixed one, ``head.bias``; the prediction is their sum."""

    width = 1
    head: Offset

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.head = Offset()

    def encode(self, batch: Batch) -> Encoded:
        return Encoded(batch["image"].flatten(2).transpose(1, 2))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        return (self.weight + self.head.bias).expand(len(tokens))


class Distance:
    """The metric of the quadratic: how near the predictions come."""

    def __init__(self) -> None:
        self.misses: list[Tensor] = []

    def update(self, prediction: Tensor, batch: Batch) -> None:
        self.misses.append((prediction - batch["target"]).abs())

    def compute(self) -> Scores:
        return Scores({"closeness": -float(torch.cat(self.misses).mean())}, {})


class Quadratic(Task):
    """The task of finding the mean: ``0.5 curvature (weight - target)^2``.

    Its gradient is ``curvature (weight - mean target)``.
    """

    main_metric = "closeness"

    def __init__(self, curvature: float = 1.0) -> None:
        self.curvature = curvature

    def network(self) -> Scalar:
        return Scalar()

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        return 0.5 * self.curvature * (prediction - batch["target"]).square().mean()

    def metric(self, train: Subset) -> Distance:
        return Distance()

    def visualise(self, prediction: Tensor, batch: Batch) -> list[Panel]:
        return []


def plain_sgd(rate: float = 0.1, **changes: Any) -> TrainingSettings:
    settings = {"learning_rate": rate, "momentum": 0.0, "weight_decay": 0.0, "clip_norm": 1e9, "batch_size": 64}
    return TrainingSettings(**{**settings, **changes})


def quadratic_trainer(
    name: str, targets: Sequence[float], settings: TrainingSettings | None = None, **changes: Any
) -> Trainer:
    """Return a client that wants the shared number to be the mean of its targets."""
    count = len(targets)
    fields = {"image": torch.zeros(count, 1, 2, 2), "target": torch.tensor(targets)}
    examples = Subset(fields, tuple(f"{name}/{row}" for row in range(count)))
    client = ClientData(name, name, examples, examples, examples)
    personal = changes.pop("personal", frozenset())
    task, seed = Quadratic(changes.pop("curvature", 1.0)), changes.pop("seed", 0)
    model = FederatedModel(task.network(), None)
    kind = PrivateTrainer if "private" in changes else Trainer
    return kind(model, task, client, settings or plain_sgd(), personal, seed, **changes)


def uneven(
    settings: TrainingSettings | None = None, samples: tuple[int, int] = (1, 1), **changes: Any
) -> dict[str, Trainer]:
    """Return the clients of ``0.5 w^2`` and ``(w - 12)^2``: the mean of the two losses is least at 24 / 3 = 8."""
    return {
        "a": quadratic_trainer("a", [0.0] * samples[0], settings, curvature=1.0, **changes),
        "b": quadratic_trainer("b", [12.0] * samples[1], settings, curvature=2.0, **changes),
    }


Record = TypeVar("Record", ServerState, Broadcast, ClientState, Upload)


class _Kept(Callback):
    """Keeps the checkpoint after each round."""

    def __init__(self) -> None:
        self.checkpoints: list[Checkpoint] = []

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        self.checkpoints.append(event.checkpoint)


def federated(arm: Arm, start: Checkpoint | None = None) -> list[Checkpoint]:
    """Play an arm's rounds in process, from a checkpoint or from the beginning; return the checkpoint after each."""
    kept = _Kept()
    with InProcess(arm.runtime) as engine:
        arm.federation(engine, [kept]).run(arm.start() if start is None else start)
    return kept.checkpoints


def packed(checkpoint: Checkpoint) -> Checkpoint:
    """Write a checkpoint to files, and read it back."""
    server = ServerState.from_bytes(checkpoint.server.to_bytes())
    clients = {name: ClientState.from_bytes(state.to_bytes()) for name, state in checkpoint.clients.items()}
    return replace(checkpoint, server=server, clients=clients)


def same_checkpoint(one: Checkpoint, other: Checkpoint) -> bool:
    """Tell whether two checkpoints are the same to the last bit."""
    return (
        same_record(one.server, other.server)
        and one.clients.keys() == other.clients.keys()
        and all(same_record(state, other.clients[name]) for name, state in one.clients.items())
        and one.best == other.best
    )


def same_record(one: Record, other: Record) -> bool:
    """Tell whether two records are the same to the last bit."""
    return same(one.pack()[0], other.pack()[0]) and one.pack()[1] == other.pack()[1]
