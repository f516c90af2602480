"""Acceptance: a client takes all, half or none of what it receives, whichever is best on its own validation data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field, replace

from torch import Tensor

from omnifm.algorithms.circle_exchange import circle_in
from omnifm.algorithms.circles import ALONE
from omnifm.core.records import OWN_WEIGHTS, Broadcast, ClientState, Upload
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix

SHARES = (1.0, 0.5, 0.0)
"""The shares of the received weights that a client tries; of equally good ones it takes the largest."""
LEAST_EXAMPLES = 10
"""With fewer validation examples the loss is too uncertain: the client then takes what it receives."""

_PREFIX, _SHARE, _ROUND, _CIRCLE = "last", "accepted", "compared", "compared_circle"
_NOTES = (_SHARE, _ROUND, _CIRCLE)

ValidationLoss = Callable[[Broadcast, ClientState], float]
"""Returns the loss of a client's model on its validation data, if it starts from this broadcast."""


@dataclass(frozen=True)
class Acceptance:
    """Every few rounds a client compares what it receives with its own weights after its last local training.

    It compares all weights that it receives: the shared ones and those in its own message. The client keeps its own in
    its state; they never leave it. The chosen share holds until the next comparison, or until the weights come from
    another circle, or from one no more: it says nothing of those. It is reported with each upload, with its round.

    Args:
        every: rounds between two comparisons.
    """

    every: int = 5

    def start(
        self, broadcast: Broadcast, client: ClientState, validation: Sized, loss: ValidationLoss
    ) -> AcceptedBroadcast:
        """Return what the client starts from; ``loss`` is called only if a comparison is due."""
        own, inner = {**client.personal, **strip_prefix(_PREFIX, client.memory)}, _without_own(client)
        share: float | None = client.notes.get(_SHARE)
        circle = _circle(broadcast)
        moved = share is not None and client.notes.get(_CIRCLE) != circle
        due = moved or broadcast.round - client.notes.get(_ROUND, 1) >= self.every
        if not strip_prefix(_PREFIX, client.memory) or (due and len(validation) < LEAST_EXAMPLES):
            return AcceptedBroadcast(broadcast, broadcast, inner)
        if not due:
            kept = {name: client.notes[name] for name in _NOTES if name in client.notes}
            return AcceptedBroadcast(broadcast, _mixed(broadcast, own, 1.0 if share is None else share), inner, kept)
        told = {_ROUND: broadcast.round, _CIRCLE: circle}
        candidates = (
            AcceptedBroadcast(broadcast, _mixed(broadcast, own, one), inner, {_SHARE: one, **told}) for one in SHARES
        )
        return min(candidates, key=lambda candidate: loss(candidate.used, inner))


@dataclass(frozen=True)
class AcceptedBroadcast:
    """What a client ``received``, and what it starts from, ``used``; after a comparison, ``notes`` hold the share."""

    received: Broadcast
    used: Broadcast
    client: ClientState
    notes: Mapping[str, float] = field(default_factory=dict)

    def finished(self, upload: Upload, after: ClientState) -> tuple[Upload, ClientState]:
        """Express an upload's change relative to the received weights, and keep the client's own in its state."""
        start, received = _weights(self.used), _weights(self.received)
        own = {
            name: start[name] + value if value.is_floating_point() else value
            for name, value in upload.change.items()
            if name in start
        }
        change = upload.change
        if self.used is not self.received:
            moved = {n: v - received[n] if v.is_floating_point() else v for n, v in own.items()}
            change = {**change, **moved}
        reported = {name: self.notes[name] for name in (_SHARE, _ROUND)} if self.notes else {}
        memory = {**after.memory, **add_prefix(_PREFIX, own)}
        upload = replace(upload, change=change, notes={**upload.notes, **reported})
        return upload, replace(after, memory=memory, notes={**after.notes, **self.notes})


def _without_own(client: ClientState) -> ClientState:
    """Return the state without what acceptance keeps, as the algorithm knows it."""
    memory = {name: value for name, value in client.memory.items() if not name.startswith(f"{_PREFIX}/")}
    return replace(client, memory=memory, notes={k: v for k, v in client.notes.items() if k not in _NOTES})


def _circle(broadcast: Broadcast) -> int:
    """Return the number of the circle whose weights are in a broadcast, or :data:`ALONE`."""
    number = circle_in(broadcast) if strip_prefix(OWN_WEIGHTS, broadcast.extra) else None
    return ALONE if number is None else number


def _weights(broadcast: Broadcast) -> Tensors:
    """Return the weights in a broadcast by their names in the network."""
    return {**broadcast.shared, **strip_prefix(OWN_WEIGHTS, broadcast.extra)}


def _mixed(broadcast: Broadcast, own: Tensors, share: float) -> Broadcast:
    """Return the broadcast with its weights mixed with the client's own, ``share`` of the former."""
    if share == 1.0:
        return broadcast

    def mix(name: str, value: Tensor) -> Tensor:
        if name not in own:
            return value
        if share == 0.0 or not value.is_floating_point():
            return own[name]
        return share * value + (1 - share) * own[name]

    alone = {name: mix(name, value) for name, value in strip_prefix(OWN_WEIGHTS, broadcast.extra).items()}
    shared = {name: mix(name, value) for name, value in broadcast.shared.items()}
    return replace(broadcast, shared=shared, extra={**broadcast.extra, **add_prefix(OWN_WEIGHTS, alone)})
