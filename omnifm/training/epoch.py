"""One pass over the training data: its batches and its losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from omnifm.data.subset import Batch
from omnifm.utils.errors import NonFiniteLossError


class EpochLosses:
    """The losses of one pass over the data, kept on the device."""

    def __init__(self) -> None:
        self.objectives: list[Tensor] = []
        self._losses: list[Tensor] = []
        self._sizes: list[int] = []

    def record(self, batch: Batch, objective: Tensor, loss: Tensor) -> None:
        """Keep a batch's scalar losses: what was minimised and the task's own."""
        self.objectives.append(objective)
        self._losses.append(loss)
        self._sizes.append(len(batch["image"]))

    def loss(self) -> float:
        """Return the mean over all examples."""
        losses: list[float] = torch.stack(self._losses).tolist()
        return sum(loss * size for loss, size in zip(losses, self._sizes, strict=True)) / sum(self._sizes)


def shuffled_batches(count: int, batch_size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled rows in batches; a single last row joins the batch before it (batch normalisation needs two)."""
    batches = list(torch.split(torch.randperm(count, generator=order), batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        single = batches.pop()
        batches[-1] = torch.cat([batches[-1], single])
    yield from batches


def even_batches(count: int, batch_size: int, order: torch.Generator) -> tuple[Tensor, ...]:
    """Return shuffled rows in batches of one length, give or take one: a mean over batches is one over images."""
    return torch.tensor_split(torch.randperm(count, generator=order), -(-count // batch_size))


def check_finite(
    losses: list[Tensor], client: str, learning_rate: float, where: Callable[[int], str], before: int = 0
) -> None:
    """Check the losses of many batches at once, since each check waits for the device.

    Raises:
        NonFiniteLossError: one is NaN or infinite; names the client and ``where`` it was, by its number.
    """
    for place, loss in enumerate(torch.stack(losses).tolist(), start=before + 1):
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"The loss of client {client!r} is {loss} {where(place)}. Lower training.learning_rate (now "
                f"{learning_rate:g}) or training.clip_norm, or look at its images."
            )
