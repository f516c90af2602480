"""A base class for rules that treat what clients sent as vectors: its length and its distances count."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch

from omnifm.algorithms.aggregation.aggregator import Aggregator, Mean, Weight
from omnifm.algorithms.aggregation.trimmed_mean import middle
from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors


class VectorAggregator(Aggregator):
    """A rule for vectors: define :meth:`combine`. Weights are ignored; integer tensors are those of the first client.

    What the same clients hold is one vector, ``change`` and ``extra`` apart: the weights of a circle are combined over
    its members, and control variates, whose scale is another, do not hide in the weights' norm, nor the other way
    round. Memory: all uploads of a round at once, and two models in float64.
    """

    def combine(self, vectors: Sequence[Tensors]) -> Tensors:
        """Return one vector, in float64, for those of the clients, which all have the same names."""
        raise NotImplementedError

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Combine the vectors of each set of clients."""
        kept = list(uploads)
        change = self._combined([upload.change for upload in kept])
        return Mean(change, self._combined([upload.extra for upload in kept]), len(kept))

    def _combined(self, parts: Sequence[Tensors]) -> Tensors:
        holders: dict[str, tuple[int, ...]] = {
            name: tuple(place for place, part in enumerate(parts) if name in part)
            for name in dict.fromkeys(name for part in parts for name in part)
        }
        together: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
        result: Tensors = {}
        for name, places in holders.items():
            first = parts[places[0]][name]
            result[name] = first.clone()  # in the order of the names, whoever holds them
            if first.is_floating_point():
                together[places].append(name)
        for places, names in together.items():
            found = self.combine([{name: parts[place][name] for name in names} for place in places])
            result.update({name: value.float() for name, value in found.items()})
        return result


def norm(vector: Tensors) -> float:
    """Return the Euclidean norm."""
    return math.sqrt(sum(float(value.double().square().sum()) for value in vector.values()))


def distances(vectors: Sequence[Tensors], centre: Tensors) -> list[float]:
    """Return the Euclidean distance of each vector from ``centre``, which is in float64."""
    return [norm({name: vector[name] - value for name, value in centre.items()}) for vector in vectors]


def average(vectors: Sequence[Tensors], shares: Sequence[float]) -> Tensors:
    """Return the sum of the vectors, each times its share, in float64."""
    total = {name: value.double() * shares[0] for name, value in vectors[0].items()}
    for vector, share in zip(vectors[1:], shares[1:], strict=True):
        for name, value in vector.items():
            total[name].add_(value.double(), alpha=share)
    return total


def coordinate_median(vectors: Sequence[Tensors]) -> Tensors:
    """Return the median of each coordinate in float64: where rules begin that approach what most are near to."""
    cut = (len(vectors) - 1) // 2
    return {name: middle(torch.stack([vector[name] for vector in vectors]), cut) for name in vectors[0]}
