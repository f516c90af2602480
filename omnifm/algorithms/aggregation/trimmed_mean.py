"""Trimmed mean: Yin et al., Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import TensorAggregator


def middle(values: Tensor, cut: int) -> Tensor:
    """Return the mean of values ``(clients, *shape)`` per coordinate without its ``cut`` smallest and largest."""
    return values.sort(dim=0).values[cut : len(values) - cut].double().mean(dim=0)


@dataclass(frozen=True)
class TrimmedMean(TensorAggregator):
    """The mean of each coordinate without the share ``trim`` of the values at each end; all clients count equally.

    With three or more clients, each end loses at least one value, and at least one is kept. Weights are ignored: a
    client's report of its number of samples is no more reliable than the rest. Memory: all uploads of a round at once.

    Attributes:
        trim: the share of the values that is left out at each end.
    """

    trim: Annotated[float, Field(gt=0, lt=0.5)] = 0.1

    def combine(self, values: Tensor, weights: Tensor) -> Tensor:
        """Trim both ends."""
        wanted = math.ceil(round(self.trim * len(values), 9))
        return middle(values, min(wanted, (len(values) - 1) // 2))
