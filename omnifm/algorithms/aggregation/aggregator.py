"""The contract of an aggregator, and the frame of those that treat each tensor by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors

Weight = Callable[[Upload], float]
"""The weight that an algorithm gives to an upload."""


class Mean(NamedTuple):
    """The mean of the uploads' ``change`` and of their ``extra`` by name, or a robust estimate of it.

    ``clients`` counts all that answered, whether or not the rule made use of them.
    """

    change: Tensors
    extra: Tensors
    clients: int


class Aggregator:
    """Turns a stream of uploads into a :class:`Mean`; everything that uploads carry as tensors goes through it.

    A rule is a frozen dataclass whose fields are its settings, and keeps nothing from round to round.
    ``estimates_mean`` tells whether the result is near the mean over clients when all are honest.
    """

    estimates_mean: ClassVar[bool] = True

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Aggregate the uploads, each tensor over the clients that hold it.

        Integer tensors (counters) have no mean: the value of one client is taken. A rule may ignore the weights.
        """
        raise NotImplementedError

    def reject_reason(self, clients: int) -> str:
        """Return why the rule cannot serve rounds of so many clients, or an empty string if it can."""
        return ""


class TensorAggregator(Aggregator):
    """A rule for each tensor by itself: define :meth:`combine`. Integer tensors are those of the first client.

    Memory: all uploads of a round at once, and the largest tensor of them once more.
    """

    def combine(self, values: Tensor, weights: Tensor) -> Tensor:
        """Return one tensor ``(*shape)`` for values ``(clients, *shape)`` and weights ``(clients,)`` float64."""
        raise NotImplementedError

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Combine the tensors of each name."""
        kept = list(uploads)
        weights = [weight(upload) for upload in kept]
        change = self._combined([upload.change for upload in kept], weights)
        return Mean(change, self._combined([upload.extra for upload in kept], weights), len(kept))

    def _combined(self, parts: list[Tensors], weights: list[float]) -> Tensors:
        result = {}
        for name in dict.fromkeys(name for part in parts for name in part):
            held = [(part[name], weight) for part, weight in zip(parts, weights, strict=True) if name in part]
            values, own = zip(*held, strict=True)
            if values[0].is_floating_point():
                result[name] = self.combine(torch.stack(values), torch.tensor(own, dtype=torch.float64)).float()
            else:
                result[name] = values[0].clone()
        return result
