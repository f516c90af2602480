"""The weighted mean of uploads, taken as they stream in, each tensor over the clients that hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors


class Mean(NamedTuple):
    """The mean of the uploads' ``change`` and of their ``extra``, and how many ``clients`` have answered."""

    change: Tensors
    extra: Tensors
    clients: int


class WeightedMean:
    """A running ``sum of n_i D_i / sum of n_i`` for each name.

    Sums are float64, so that the rounding of one client's share does not depend on how many others there are. Integer
    buffers have no mean: the first client's value is taken. Memory does not grow with the number of clients.
    """

    def __init__(self) -> None:
        self._sums: Tensors = {}
        self._weights: dict[str, float] = {}

    def add(self, tensors: Tensors, weight: float) -> None:
        """Take in one client's tensors."""
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
        """Return the mean of each name as float32 (integers as they are), and forget the sums: they are large."""
        means = {}
        for name in list(self._sums):
            total = self._sums.pop(name)
            means[name] = total.div_(self._weights[name]).float() if name in self._weights else total
        return means


def average(uploads: Iterable[Upload], weight: Callable[[Upload], float]) -> Mean:
    """Return the mean over the uploads, each of a weight."""
    change, extra, clients = WeightedMean(), WeightedMean(), 0
    for upload in uploads:
        change.add(upload.change, weight(upload))
        extra.add(upload.extra, weight(upload))
        clients += 1
    return Mean(change.result(), extra.result(), clients)


def difference(after: Tensors, before: Tensors) -> Tensors:
    """Return ``after - before`` by name, on the CPU; of integer tensors the value itself."""
    return {n: v.cpu() - before[n] if v.is_floating_point() else v.cpu().clone() for n, v in after.items()}


def apply(shared: Tensors, change: Tensors) -> Tensors:
    """Return ``shared + change`` by name; integer tensors are replaced. Names without a change stay."""

    def moved(name: str, value: Tensor) -> Tensor:
        if name not in change:
            return value
        return value + change[name] if value.is_floating_point() else change[name]

    with torch.no_grad():
        return {name: moved(name, value) for name, value in shared.items()}
