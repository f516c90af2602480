"""Median: Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import TensorAggregator
from omnifm.algorithms.aggregation.trimmed_mean import middle


@dataclass(frozen=True)
class Median(TensorAggregator):
    """The median of each coordinate; for an even number of clients the mean of the middle two.

    Weights are ignored, as in the trimmed mean. Memory: all uploads of a round at once.
    """

    def combine(self, values: Tensor, weights: Tensor) -> Tensor:
        """Take the middle value."""
        return middle(values, (len(values) - 1) // 2)
