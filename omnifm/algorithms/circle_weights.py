"""The server's side of weights that are averaged within circles of clients that are alike: one set a circle."""

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

_INITIAL, _CIRCLE = "circle.initial", CIRCLE


@dataclass(frozen=True)
class CircleWeights:
    """The server's weights ``of`` each circle by its number, and the ``initial`` ones.

    A circle that was just formed has none: its members continue from their own, and report the change from the initial
    weights. Memory: one set for each circle of two or more.
    """

    initial: Tensors
    of: Mapping[int, Tensors]

    def to_memory(self) -> Tensors:
        """Return all as tensors of a server's memory."""
        memory = add_prefix(_INITIAL, self.initial)
        for circle, weights in self.of.items():
            memory |= add_prefix(f"{_CIRCLE}.{circle}", weights)
        return memory

    @classmethod
    def from_memory(cls, memory: Mapping[str, Tensor], circles: Iterable[int]) -> CircleWeights:
        """Undo :meth:`to_memory`."""
        found = {circle: strip_prefix(f"{_CIRCLE}.{circle}", memory) for circle in circles}
        return cls(strip_prefix(_INITIAL, memory), {circle: weights for circle, weights in found.items() if weights})

    def message(self, circle: int) -> Tensors:
        """Return what a member of a circle is sent."""
        held = self.of.get(circle)
        weights = add_prefix(REFERENCE, self.initial) if held is None else add_prefix(OWN_WEIGHTS, held)
        return {_CIRCLE: torch.tensor([circle]), **weights}

    def moved(self, mean: Tensors) -> CircleWeights:
        """Return the weights after a round, given the mean change under the names of :func:`addressed`."""
        circles = {int(name.split("/", 1)[0].removeprefix(f"{_CIRCLE}.")) for name in mean}
        after = {
            circle: apply(self.of.get(circle, self.initial), strip_prefix(f"{_CIRCLE}.{circle}", mean))
            for circle in circles
        }
        return replace(self, of={**self.of, **after})

    def regrouped(self, shares: Mapping[int, Mapping[int, float]]) -> CircleWeights:
        """Return the weights of new circles: for each, the mean of old ones by their shares.

        A circle whose members have not taken part yet has no weights to bring.
        """
        held = {
            circle: {number: share for number, share in parts.items() if number in self.of}
            for circle, parts in shares.items()
        }
        return replace(self, of={circle: self._mean(parts) for circle, parts in held.items() if parts})

    def _mean(self, parts: Mapping[int, float]) -> Tensors:
        whole = sum(parts.values())
        sources = [(self.of[circle], share / whole) for circle, share in parts.items()]
        first = sources[0][0]
        if len(sources) == 1:
            return first
        return {
            name: sum((w[name].double() * s for w, s in sources), torch.zeros(())).float()
            if value.is_floating_point()
            else value
            for name, value in first.items()
        }


def addressed(upload: Upload, circle: int, names: Collection[str]) -> Upload:
    """Return an upload whose weights of ``names`` have the circle in their name, so that each is averaged in its own.

    What a client without a circle sends of them, it was not asked for.
    """
    own = {name: value for name, value in upload.change.items() if name in names}
    rest = {name: value for name, value in upload.change.items() if name not in names}
    return replace(upload, change={**rest, **(add_prefix(f"{_CIRCLE}.{circle}", own) if circle != ALONE else {})})


def split_mean(mean: Mean) -> tuple[Mean, Tensors]:
    """Return the mean without what circles averaged, and that, under the names of :func:`addressed`."""
    own = {name: value for name, value in mean.change.items() if name.startswith(f"{_CIRCLE}.")}
    return mean._replace(change={n: v for n, v in mean.change.items() if n not in own}), own
