"""Geometric median: Pillutla et al., Robust Aggregation for Federated Learning, IEEE TSP 70, 2022 (RFA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnifm.algorithms.aggregation.vectors import VectorAggregator, average, coordinate_median, distances
from omnifm.core.tensors import Tensors
from omnifm.utils.settings import Count, Positive

_STILL = 1e-7
"""An iteration that moves by less than this share of the distances (their harmonic mean) is the last."""


@dataclass(frozen=True)
class GeometricMedian(VectorAggregator):
    """The point with the smallest sum of Euclidean distances to the uploads, by the smoothed Weiszfeld algorithm.

    ``v <- sum of z_i / max(smoothing, |z_i - v|)``, divided by the sum of these weights, at most ``iterations`` times.
    It begins at the median of each coordinate, not at the mean as in the paper, so that it need not come back from an
    outlier; and all clients count equally. Fewer than half of the clients cannot move it far. Time: each iteration
    reads all uploads once.

    Attributes:
        iterations: the most steps of the algorithm.
        smoothing: the shortest distance that a step divides by.
    """

    iterations: Count = 32
    smoothing: Positive = 1e-6

    def combine(self, vectors: Sequence[Tensors]) -> Tensors:
        """Iterate."""
        found = coordinate_median(vectors)
        for _ in range(self.iterations):
            away = distances(vectors, found)
            inverse = [1 / max(self.smoothing, distance) for distance in away]
            whole = sum(inverse)
            moved = average(vectors, [value / whole for value in inverse])
            (step,) = distances([moved], found)
            found = moved
            if step <= _STILL * len(away) / whole:
                break
        return found
