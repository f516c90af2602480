"""Centred clipping: Karimireddy et al., Learning from History for Byzantine Robust Optimization, ICML 2021."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from omnifm.algorithms.aggregation.aggregator import Mean, Weight
from omnifm.algorithms.aggregation.mean import RunningMean
from omnifm.algorithms.aggregation.vectors import VectorAggregator, average, coordinate_median, distances, norm
from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors
from omnifm.utils.settings import Count, NotNegative


@dataclass(frozen=True)
class CentredClipping(VectorAggregator):
    """The mean of the uploads, each drawn towards a centre v until it is at most ``radius`` from it.

    ``v <- v + mean of (z_i - v) min(1, radius / |z_i - v|)``, ``iterations`` times. A radius of 0 stands for the median
    of the distances. The centre is first the ``"median"`` of each coordinate, where the paper has the mean of the last
    round, which a rule does not remember; or ``"zero"``, no change, which bounds the norm of each upload (Sun et al.,
    Can You Really Backdoor Federated Learning?, 2019).

    About zero with a radius that is given and one iteration, uploads are taken as they arrive, so that memory is that
    of one upload; the norm is then that of all that a client holds of ``change``, or of ``extra``.

    Attributes:
        radius: the longest distance from the centre; 0: the median distance.
        centre: the ``median`` of each coordinate, or ``zero``: no change.
        iterations: how often the centre is moved.
    """

    radius: NotNegative = 0.0
    centre: Literal["median", "zero"] = "median"
    iterations: Count = 1

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Add up the clipped uploads one by one where that is possible."""
        if self.centre == "median" or not self.radius or self.iterations > 1:
            return super().aggregate(uploads, weight)
        change, extra, clients = RunningMean(), RunningMean(), 0
        for upload in uploads:
            change.add(self._clipped(upload.change), 1.0)
            extra.add(self._clipped(upload.extra), 1.0)
            clients += 1
        return Mean(change.result(), extra.result(), clients)

    def combine(self, vectors: Sequence[Tensors]) -> Tensors:
        """Clip about the centre, which moves."""
        centre = coordinate_median(vectors)
        if self.centre == "zero":
            centre = {name: torch.zeros_like(value) for name, value in centre.items()}
        for _ in range(self.iterations):
            away = distances(vectors, centre)
            radius = self.radius or sorted(away)[(len(away) - 1) // 2]
            shares = [_scale(distance, radius) / len(away) for distance in away]
            moved = average(vectors, shares)
            rest = 1 - sum(shares)
            centre = {name: value.add_(centre[name], alpha=rest) for name, value in moved.items()}
        return centre

    def _clipped(self, part: Tensors) -> Tensors:
        scale = _scale(norm({name: value for name, value in part.items() if value.is_floating_point()}), self.radius)
        return {name: value * scale if value.is_floating_point() else value for name, value in part.items()}


def _scale(length: float, radius: float) -> float:
    return 1.0 if length <= radius else radius / length
