"""The contract of a task: what a hospital wants from its images.

A task is one file: its network (``encode`` and ``decode``), its loss and its metrics. All else, from the spectral
adapter to the federation, is the same for every task and asks none of them its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from omnifm.data.examples import Batch, Examples


@dataclass(frozen=True)
class DataShape:
    """What a task must know of the data to build its network: image channels, spatial axes, the label space."""

    channels: int
    axes: int
    label_names: tuple[str, ...]


class Encoded(NamedTuple):
    """Spatial tokens ``(batch, L, width)``, and whatever the decoder needs beside them (a grid size, skips)."""

    tokens: Tensor
    context: Any = None


class TaskNetwork(nn.Module):
    """A network in two halves. What ``backbone`` and ``head`` hold may be kept personal by those names.

    ``pooled`` tells that ``decode`` reads nothing but the mean of the tokens, so that one token does as well.
    """

    width: int
    pooled: bool = False
    backbone: nn.Module
    head: nn.Module

    def encode(self, batch: Batch) -> Encoded:
        """Turn the images of a batch into tokens."""
        raise NotImplementedError

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        """Turn tokens, perhaps conditioned on the way, into the task's prediction."""
        raise NotImplementedError


class Scores(NamedTuple):
    """How well a client's model does: ``numbers`` by metric name, and arrays for the report by table name."""

    numbers: dict[str, float]
    tables: dict[str, npt.NDArray[Any]]


class Meter(Protocol):
    """Collects predictions batch by batch."""

    def add(self, prediction: Tensor, batch: Batch) -> None:
        """Take in one batch."""
        ...

    def scores(self) -> Scores:
        """Return the scores of all batches together."""
        ...


class Panel(NamedTuple):
    """One picture of the report: ``(h, w)`` or ``(h, w, 3)`` uint8, a caption, and whether it is right, if known."""

    picture: npt.NDArray[np.uint8]
    caption: str
    right: bool | None


class Task(Protocol):
    """What is learned. Built once per experiment from its settings and the shape of the data.

    ``main_metric`` chooses the best round on validation data, higher is better. ``personal`` names parts of the
    network that this task's settings keep at the client. ``classes`` is how many classes :meth:`labels` tells apart,
    0 for a task without any.
    """

    main_metric: str
    personal: tuple[str, ...]
    classes: int

    def network(self) -> TaskNetwork:
        """Build a new network, its weights drawn from torch's global generator."""
        ...

    def prepare(self, train: Examples) -> Examples:
        """Add to a client's training examples what the loss needs and only this client knows."""
        ...

    def augment(self, batch: Batch, draw: torch.Generator) -> Batch:
        """Change a training batch at random in ways that leave its truth as it is."""
        ...

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the mean loss over the batch, a scalar."""
        ...

    def labels(self, batch: Batch) -> Tensor:
        """Return the class at each position, int64, -1 where there is none; never asked of a task without classes.

        ``(batch, 1)`` if the network is pooled, else ``(batch, L)``.
        """
        ...

    def meter(self) -> Meter:
        """Return an empty meter."""
        ...

    def panels(self, prediction: Tensor, batch: Batch) -> list[Panel]:
        """Show predictions as people look at them, one picture a row of the batch."""
        ...
