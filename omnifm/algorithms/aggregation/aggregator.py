"""The contract of an aggregator, and a base class for rules that treat each tensor separately."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors

Weight = Callable[[Upload], float]
"""Returns the weight that an algorithm gives to an upload."""


class Mean(NamedTuple):
    """The mean of the uploads' ``change`` and of their ``extra`` by name, or a robust estimate of it.

    ``clients`` counts all that answered, whether or not the rule used their uploads.
    """

    change: Tensors
    extra: Tensors
    clients: int


class Aggregator:
    """Turns a stream of uploads into a :class:`Mean`; all tensors of uploads go through it.

    A rule is a frozen dataclass whose fields are its settings; it keeps nothing between rounds. ``estimates_mean`` is
    whether the result is close to the mean over clients when all are honest.
    """

    estimates_mean: ClassVar[bool] = True

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Aggregate the uploads, each tensor over the clients that hold it.

        Integer tensors (counters) have no mean: one client's value is used. A rule can ignore the weights.
        """
        raise NotImplementedError

    def reject_reason(self, clients: int) -> str:
        """Return why the rule does not work with so many clients a round, or an empty string if it does."""
        return ""


class TensorAggregator(Aggregator):
    """A rule for each tensor separately: define :meth:`combine`. Integer tensors are those of the first client.

    Memory: all uploads of a round at once, and their largest tensor once more.
    """

    def combine(self, values: Tensor, weights: Tensor) -> Tensor:
        """Return one tensor ``(*shape)`` for values ``(clients, *shape)`` and weights ``(clients,)`` float64."""
        raise NotImplementedError

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Combine the tensors by name."""
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
