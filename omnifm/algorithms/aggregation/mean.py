"""The weighted mean of uploads, computed as they arrive: the default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from omnifm.algorithms.aggregation.aggregator import Aggregator, Mean, Weight
from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors


class RunningMean:
    """A running ``sum of n_i D_i / sum of n_i`` for each name.

    Sums are float64, so that the rounding of one client's share does not depend on the number of others. Integer
    tensors have no mean: the first client's value is used.
    """

    def __init__(self) -> None:
        self._sums: Tensors = {}
        self._weights: dict[str, float] = {}

    def add(self, tensors: Tensors, weight: float) -> None:
        """Add one client's tensors."""
        for name, value in tensors.items():
            if not value.is_floating_point():
                self._sums.setdefault(name, value.clone())
            elif name in self._sums:
                self._sums[name].add_(value, alpha=weight)
                self._weights[name] += weight
            else:
                self._sums[name] = value.double() * weight
                self._weights[name] = weight

    def result(self) -> Tensors:
        """Return the mean of each name as float32 (integers unchanged), and free the sums, which are large."""
        means = {}
        for name in list(self._sums):
            total = self._sums.pop(name)
            means[name] = total.div_(self._weights[name]).float() if name in self._weights else total
        return means


@dataclass(frozen=True)
class WeightedMean(Aggregator):
    """Federated averaging (McMahan et al., AISTATS 2017). Memory: one model in float64, however many clients."""

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Add up the uploads one by one."""
        change, extra, clients = RunningMean(), RunningMean(), 0
        for upload in uploads:
            change.add(upload.change, weight(upload))
            extra.add(upload.extra, weight(upload))
            clients += 1
        return Mean(change.result(), extra.result(), clients)
