"""The two workloads, and the synthetic images for them: files that all contenders map into memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from peers.networks import CLASSES, Network, resnet18, small_cnn


@dataclass(frozen=True)
class Workload:
    """Clients with ``images`` of ``shape`` (channels, height, width), of whom ``per_round`` train one epoch a round.

    They train by SGD with ``batch``, ``rate`` and ``momentum``; after each round the global model is evaluated on
    ``held_out`` images, ``evaluation_batch`` at a time. ``noise`` is the standard deviation around patterns of about 1.
    """

    name: str
    title: str
    network: Callable[[], Network]
    clients: int
    images: int
    shape: tuple[int, int, int]
    per_round: int
    batch: int
    rate: float
    momentum: float
    held_out: int
    evaluation_batch: int
    noise: float
    rounds: int

    def first_network(self) -> Network:
        """Return the network with the initial weights, the same for every contender."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.network()

    def sampled(self, round_number: int) -> list[int]:
        """Return the clients of a round, for contenders that do not sample their own."""
        return np.random.default_rng((1, round_number)).permutation(self.clients)[: self.per_round].tolist()


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="cnn",
            title="100 clients x 200 images 28x28, small CNN, 20 clients a round, batch 20",
            network=small_cnn,
            clients=100,
            images=200,
            shape=(1, 28, 28),
            per_round=20,
            batch=20,
            rate=0.05,
            momentum=0.0,
            held_out=2000,
            evaluation_batch=50,
            noise=2.0,
            rounds=8,
        ),
        Workload(
            name="resnet",
            title="ResNet-18, 8 clients x 256 images 3x64x64, all in every round, batch 32",
            network=resnet18,
            clients=8,
            images=256,
            shape=(3, 64, 64),
            per_round=8,
            batch=32,
            rate=0.05,
            momentum=0.9,
            held_out=512,
            evaluation_batch=32,
            noise=0.5,
            rounds=3,
        ),
    )
}


def make_images(workload: Workload, folder: Path) -> None:
    """Write a workload's images: every class is a coarse pattern, shifted, with noise."""
    draw = np.random.default_rng(0)
    channels, height, width = workload.shape
    coarse = draw.standard_normal((CLASSES, channels, 7, 7), dtype=np.float32)
    rows, columns = np.arange(height) * 7 // height, np.arange(width) * 7 // width
    patterns = coarse[:, :, rows][..., columns]
    for part, count in (("train", workload.clients * workload.images), ("held_out", workload.held_out)):
        labels = draw.permutation(np.arange(count) % CLASSES)
        images = workload.noise * draw.standard_normal((count, *workload.shape), dtype=np.float32)
        for row, (label, shift) in enumerate(zip(labels, draw.integers(-2, 3, (count, 2)), strict=True)):
            images[row] += np.roll(patterns[label], tuple(shift), (1, 2))
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{part}_images.npy", images / np.float32(workload.noise))
        np.save(folder / f"{part}_labels.npy", labels)


@dataclass(frozen=True)
class Images:
    """A workload's images on disk, mapped into memory, so that processes share them."""

    workload: Workload
    folder: Path

    def client(self, number: int) -> tuple[Tensor, Tensor]:
        """Return a client's images ``(images, channels, height, width)`` and labels ``(images,)``."""
        rows = slice(number * self.workload.images, (number + 1) * self.workload.images)
        return self._mapped("train_images")[rows], self._mapped("train_labels")[rows]

    def held_out(self) -> tuple[Tensor, Tensor]:
        """Return the held-out images and their labels."""
        return self._mapped("held_out_images"), self._mapped("held_out_labels")

    def _mapped(self, name: str) -> Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(np.load(self.folder / f"{name}.npy", mmap_mode="r"))
