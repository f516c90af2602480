"""The weights that are averaged within circles, at the server: one set per circle."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.circle_exchange import CIRCLE, REFERENCE
from omnifm.algorithms.circles import ALONE
from omnifm.core.records import OWN_WEIGHTS, Upload
from omnifm.core.tensors import Tensors, add_prefix, apply, strip_prefix

_INITIAL = "circle.initial"


@dataclass(frozen=True)
class CircleWeights:
    """The weights ``of`` each circle by number, and the ``initial`` ones.

    A circle of clients that were alone before has none at first: its members continue from their own weights, and
    report the difference from the initial ones. Memory: one set per circle.
    """

    initial: Tensors
    of: Mapping[int, Tensors]

    def to_memory(self) -> Tensors:
        """Return all tensors for a server's memory."""
        memory = add_prefix(_INITIAL, self.initial)
        for circle, weights in self.of.items():
            memory |= add_prefix(f"{CIRCLE}.{circle}", weights)
        return memory

    @classmethod
    def from_memory(cls, memory: Mapping[str, Tensor], circles: Iterable[int]) -> CircleWeights:
        """Undo :meth:`to_memory`."""
        sets = {circle: strip_prefix(f"{CIRCLE}.{circle}", memory) for circle in circles}
        return cls(strip_prefix(_INITIAL, memory), {circle: weights for circle, weights in sets.items() if weights})

    def message(self, circle: int) -> Tensors:
        """Return the message for the members of a circle."""
        own = self.of.get(circle)
        weights = add_prefix(REFERENCE, self.initial) if own is None else add_prefix(OWN_WEIGHTS, own)
        return {CIRCLE: torch.tensor([circle]), **weights}

    def moved(self, mean: Tensors) -> CircleWeights:
        """Return the weights after a round, given the mean change under the names of :func:`addressed`."""
        circles = {int(name.split("/", 1)[0].removeprefix(f"{CIRCLE}.")) for name in mean}
        after = {
            circle: apply(self.of.get(circle, self.initial), strip_prefix(f"{CIRCLE}.{circle}", mean))
            for circle in circles
        }
        return replace(self, of={**self.of, **after})

    def regrouped(self, shares: Mapping[int, Mapping[int, float]]) -> CircleWeights:
        """Return the weights of new circles: for each, the mean of old ones weighted by ``shares``.

        Old circles without weights are left out.
        """
        known = {
            circle: {number: share for number, share in parts.items() if number in self.of}
            for circle, parts in shares.items()
        }
        return replace(self, of={circle: self._mean(parts) for circle, parts in known.items() if parts})

    def _mean(self, parts: Mapping[int, float]) -> Tensors:
        whole = sum(parts.values())
        sources = [(self.of[circle], share / whole) for circle, share in parts.items()]
        first = sources[0][0]
        return {  # always new tensors: several circles can start from one, and a checkpoint holds each memory once
            name: sum((w[name].double() * s for w, s in sources), torch.zeros(())).float()
            if value.is_floating_point() and len(sources) > 1
            else value.clone()
            for name, value in first.items()
        }


def addressed(upload: Upload, circle: int, names: Collection[str]) -> Upload:
    """Return an upload with the circle's number in the names of the weights ``names``: each circle averages its own.

    Such weights of a client that is in no circle were not requested and are dropped.
    """
    own = {name: value for name, value in upload.change.items() if name in names}
    rest = {name: value for name, value in upload.change.items() if name not in names}
    return replace(upload, change={**rest, **(add_prefix(f"{CIRCLE}.{circle}", own) if circle != ALONE else {})})


def split_mean(mean: Mean) -> tuple[Mean, Tensors]:
    """Return the mean over all clients, and the changes of the circles under the names of :func:`addressed`."""
    own = {name: value for name, value in mean.change.items() if name.startswith(f"{CIRCLE}.")}
    return mean._replace(change={n: v for n, v in mean.change.items() if n not in own}), own
