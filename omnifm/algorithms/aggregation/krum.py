"""Krum, Multi-Krum: Blanchard et al., Machine Learning with Adversaries: Byzantine Tolerant ..., NeurIPS 2017."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import Aggregator, Mean, Weight
from omnifm.algorithms.aggregation.mean import RunningMean
from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors
from omnifm.utils.settings import Count


@dataclass(frozen=True)
class Krum(Aggregator):
    """The upload nearest to its ``n - f - 2`` nearest neighbours of n; f = ``malicious`` clients can send anything.

    Distances are squared, over all floating-point numbers that both uploads contain. A tensor that the chosen client
    does not have is taken from the next best that does. Weights are ignored. Fewer than ``2 f + 3`` clients a round are
    refused; if some do not answer, at least one neighbour counts. Memory: all uploads of a round at
    once; time grows with the square of their number.

    Attributes:
        malicious: how many clients of a round may send anything: f.
    """

    estimates_mean: ClassVar[bool] = False
    malicious: Count = 1

    def reject_reason(self, clients: int) -> str:
        """Require ``2 f + 3`` clients."""
        least = 2 * self.malicious + 3
        few = f"with malicious = {self.malicious} it needs at least {least} clients a round, and there are {clients}"
        return few if clients < least else ""

    def kept(self, clients: int) -> int:
        """Return how many of so many uploads are averaged."""
        return 1

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Average the best uploads with equal weights."""
        received = list(uploads)
        scores = self._scores(received)
        ranked = [received[place] for place in sorted(range(len(received)), key=scores.__getitem__)]
        kept = self.kept(len(received))
        change = _mean_of_first([upload.change for upload in ranked], kept)
        return Mean(change, _mean_of_first([upload.extra for upload in ranked], kept), len(received))

    def _scores(self, uploads: Sequence[Upload]) -> list[float]:
        distances = torch.full((len(uploads), len(uploads)), torch.inf, dtype=torch.float64)
        for one, other in combinations(range(len(uploads)), 2):
            distances[one, other] = distances[other, one] = _distance(uploads[one], uploads[other])
        neighbours = max(1, len(uploads) - self.malicious - 2)
        scores: list[float] = distances.sort(dim=1).values[:, :neighbours].sum(dim=1).tolist()
        return scores


@dataclass(frozen=True)
class MultiKrum(Krum):
    """The mean of the ``n - f`` uploads that Krum ranks best; settings, limits and cost are Krum's."""

    estimates_mean: ClassVar[bool] = True

    def kept(self, clients: int) -> int:
        """Leave out as many as can be malicious."""
        return max(1, clients - self.malicious)


def _distance(one: Upload, other: Upload) -> Tensor:
    """Return the mean squared difference of the floating-point numbers in both uploads; infinite without any."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for own, others in ((one.change, other.change), (one.extra, other.extra)):
        for name, value in own.items():
            if name in others and value.is_floating_point():
                total += (value.double() - others[name]).square().sum()
                count += value.numel()
    return total / count if count else torch.full_like(total, torch.inf)


def _mean_of_first(parts: Sequence[Tensors], kept: int) -> Tensors:
    """Average each name over the first ``kept`` parts that contain it."""
    mean, taken = RunningMean(), Counter[str]()
    for part in parts:
        held = {name: value for name, value in part.items() if taken[name] < kept}
        taken.update(held.keys())
        mean.add(held, 1.0)
    return mean.result()
