"""The cost of a training step over plain PyTorch, and of the spectral adapter: ``python benchmarks/step.py``.

Three tables of pairs that are measured in turn, so that a busy machine slows down both; CPU time on one thread, ratios
of the medians.

1. The trainer's steps against the same steps in a bare loop: forward, cross-entropy, backward, fused SGD with momentum.
2. A step of OmniFM's network against one of the bare backbone; the adapter's bank is full. And the share of
   the spectrum: the most that caching spectra could save.
3. A whole round of a client, OmniFM against FedAvg: load, train, make prototypes, then evaluate on validation
   data.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnifm.algorithms.bank_broadcast import use_bank
from omnifm.config.experiment import make_experiment
from omnifm.core.records import ClientState
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import Batch, ClientData, Subset
from omnifm.runs.arm import Arm, make_arm
from omnifm.spectral.spectrum import low_pass_log_amplitude
from omnifm.tasks.classification import Classification, ClassificationSettings
from omnifm.tasks.task import DataShape, Encoded, TaskNetwork
from omnifm.training.model import FederatedModel
from omnifm.training.optimizer import make_optimizer
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer

CLASSES = ("a", "b", "c", "d")
REPEATS = 15
TRAIN, VALIDATION = 320, 64


class SmallNetwork(TaskNetwork):
    """Two convolutions of 16 and 32 channels, each with pooling, and a linear head on all features."""

    width = 32

    def __init__(self, size: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        )
        self.head = nn.Linear(32 * (size // 4) ** 2, len(CLASSES))

    def encode(self, batch: Batch) -> Encoded:
        """Return the positions of the last feature map."""
        return Encoded(self.backbone(batch["image"]).flatten(2))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(tokens.flatten(1))
        return logits


def noise_examples(count: int, size: int) -> Subset:
    """Return noise with labels."""
    labels = torch.arange(count) % len(CLASSES)
    fields = {
        "image": torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)),
        "target": F.one_hot(labels, len(CLASSES)).to(torch.uint8),
        "allowed": torch.ones(count, len(CLASSES), dtype=torch.bool),
        "exclusive": torch.ones(count, dtype=torch.bool),
    }
    return Subset(fields, tuple(map(str, range(count))))


def noise_client(size: int) -> ClientData:
    """Return a client with noise."""
    return ClientData("a", "a", *(noise_examples(count, size) for count in (TRAIN, VALIDATION, VALIDATION)))


def spent(work: Callable[[], object]) -> float:
    """Return the CPU milliseconds of one call."""
    started = time.process_time()
    work()
    return (time.process_time() - started) * 1000


def compared(one: Callable[[], object], other: Callable[[], object], repeats: int = REPEATS) -> tuple[float, float]:
    """Return the median milliseconds of both, called in turn."""
    for work in (one, other):
        work()
        work()
    pairs = [(spent(one), spent(other)) for _ in range(repeats)]
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    return first, second


def bare_epoch(size: int, batch_size: int) -> Callable[[], object]:
    """Return the plain loop, the baseline of the trainer."""
    network = SmallNetwork(size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train = noise_examples(TRAIN, size).whole()
    images, labels = train["image"], train["target"].argmax(dim=1)

    def epoch() -> None:
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)
        network.train()
        for rows in torch.randperm(TRAIN).split(batch_size):
            loss = F.cross_entropy(network.head(network.backbone(images[rows]).flatten(1)), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def trained_epoch(size: int, batch_size: int, clip_norm: float) -> Callable[[], object]:
    """Return the same in the trainer."""
    task = Classification(ClassificationSettings(augment=False), DataShape(1, (48, 48), CLASSES))
    network = SmallNetwork(size)
    model = FederatedModel(network, None).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = TrainingSettings(batch_size=batch_size, learning_rate=1e-3, clip_norm=clip_norm)
    trainer = Trainer(model, task, noise_client(size), settings, frozenset(), 0)
    return lambda: trainer.fit(1)


def arm(algorithm: str, network: str, size: int, batch_size: int) -> Arm:
    """Build an arm of one client with noise."""
    document = {
        "algorithm": algorithm,
        "training": {"batch_size": batch_size},
        "classification": {"network": network},
    }
    torch.manual_seed(0)
    return make_arm(make_experiment(document), FederatedDataset((noise_client(size),), CLASSES))


def full_bank() -> Tensor:
    """Return as many entries as a bank holds."""
    return F.normalize(torch.randn(256, 64, generator=torch.Generator().manual_seed(0)), dim=1)


def stepper(algorithm: str, network: str, size: int, batch_size: int) -> Callable[[], object]:
    """Return a function that takes one step."""
    made = arm(algorithm, network, size, batch_size)
    runtime = made.runtime
    client = replace(runtime.clients["a"], train=noise_examples(batch_size, size))
    runtime.model.train()
    trainer = Trainer(runtime.model, runtime.task, client, runtime.training, runtime.personal, 0)
    use_bank(trainer, full_bank())
    weights = trainer.trainable
    optimizer = make_optimizer(runtime.training, trainer.learning_rate, list(weights.values()))
    batch = runtime.task.setup_client(client.train).whole()

    def step() -> None:
        output = runtime.model(batch)
        loss = runtime.task.loss(output.prediction, batch)
        if output.extra_loss is not None:
            loss = loss + output.extra_loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), runtime.training.clip_norm)
        optimizer.step()

    return step


def rounds(algorithm: str, network: str, size: int, batch_size: int) -> Callable[[], object]:
    """Return a function that runs a client's round."""
    made = arm(algorithm, network, size, batch_size)
    broadcast = made.algorithm.broadcast(made.start().server)
    if "bank" in broadcast.extra:
        broadcast = replace(broadcast, extra={"bank": full_bank()})

    def one_round() -> None:
        _, state = made.runtime.update(broadcast, "a", ClientState())
        made.runtime.evaluate(broadcast, "a", state, "validation", "before_local_training")

    return one_round


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    print("Trainer against a bare loop, ms a step")
    print(f"{'network':10} {'size':>5} {'batch':>6} {'clipped':>8} {'bare':>7} {'trainer':>8} {'ratio':>6}")
    for clip_norm in (0.0, 5.0):
        bare, ours = compared(bare_epoch(28, 20), trained_epoch(28, 20, clip_norm), 3 * REPEATS)
        steps = TRAIN // 20
        clipped = "yes" if clip_norm else "no"
        print(f"{'small':10} {28:5d} {20:6d} {clipped:>8} {bare / steps:7.2f} {ours / steps:8.2f} {ours / bare:6.3f}")

    cases = (
        ("compact", 48, 32),
        ("compact", 48, 16),
        ("compact", 28, 32),
        ("resnet18", 64, 32),
    )
    print("\nOmniFM's network against the bare backbone, ms a step")
    print(f"{'network':10} {'size':>5} {'batch':>6} {'bare':>7} {'adapted':>8} {'ratio':>6} {'spectrum':>9}")
    for network, size, batch_size in cases:
        both = [stepper(name, network, size, batch_size) for name in ("fedavg", "omnifm")]
        bare, ours = compared(both[0], both[1])
        images = torch.rand(batch_size, 1, size, size)
        spectrum = statistics.median(spent(partial(low_pass_log_amplitude, images)) for _ in range(50))
        print(f"{network:10} {size:5d} {batch_size:6d} {bare:7.1f} {ours:8.1f} {ours / bare:6.2f} {spectrum:9.2f}")

    print(f"\nA client's round, {TRAIN} training and {VALIDATION} validation images, s")
    print(f"{'network':10} {'size':>5} {'batch':>6} {'fedavg':>7} {'omnifm':>8} {'ratio':>6}")
    for network, size, batch_size in cases:
        repeats = 3 if network == "resnet18" else REPEATS
        both = [rounds(name, network, size, batch_size) for name in ("fedavg", "omnifm")]
        bare, ours = compared(both[0], both[1], repeats)
        print(f"{network:10} {size:5d} {batch_size:6d} {bare / 1000:7.3f} {ours / 1000:8.3f} {ours / bare:6.2f}")


if __name__ == "__main__":
    main()
