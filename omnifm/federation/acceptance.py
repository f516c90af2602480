"""Do no harm: a client takes what it receives, half of it, or none of it, as its own validation data decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field, replace

from torch import Tensor

from omnifm.core.records import OWN_WEIGHTS, SHARES, Broadcast, ClientState, Upload
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix

LEAST_EXAMPLES = 10
"""With fewer validation examples, the loss on them says too little: a client then takes what it receives."""

_PREFIX, _SHARE, _ROUND = "last", "accepted", "compared"

ValidationLoss = Callable[[Broadcast, ClientState], float]
"""The loss of a client's model on its validation data, when it starts from this broadcast."""


@dataclass(frozen=True)
class Acceptance:
    """A client compares what it receives with its own weights after its last local training, every so many rounds.

    The weights compared are all that a client receives: the shared ones and those that it alone is sent. The client's
    own are kept in its state and never leave it. The chosen share holds until the next comparison, and goes up with the
    upload.

    Args:
        every: rounds between two comparisons.
    """

    every: int = 5

    def start(
        self, broadcast: Broadcast, client: ClientState, validation: Sized, loss: ValidationLoss
    ) -> AcceptedBroadcast:
        """Return what the client starts from: the candidate of least ``loss``, among equals the most of the received.

        The loss is computed on the client's ``validation`` data, and only if they are to be compared again.
        """
        own, inner = {**client.personal, **strip_prefix(_PREFIX, client.memory)}, _without_own(client)
        share: float | None = client.notes.get(_SHARE)
        compared = broadcast.round - client.notes.get(_ROUND, 1) >= self.every
        if not strip_prefix(_PREFIX, client.memory) or (compared and len(validation) < LEAST_EXAMPLES):
            return AcceptedBroadcast(broadcast, broadcast, inner)
        if not compared:
            kept = {name: client.notes[name] for name in (_SHARE, _ROUND) if name in client.notes}
            return AcceptedBroadcast(broadcast, _mixed(broadcast, own, 1.0 if share is None else share), inner, kept)
        candidates = (
            AcceptedBroadcast(broadcast, _mixed(broadcast, own, one), inner, {_SHARE: one, _ROUND: broadcast.round})
            for one in SHARES
        )
        return min(candidates, key=lambda candidate: loss(candidate.used, inner))


@dataclass(frozen=True)
class AcceptedBroadcast:
    """What a client received, and ``used``, what it starts from; ``notes`` say which share that is, once compared."""

    received: Broadcast
    used: Broadcast
    client: ClientState
    notes: Mapping[str, float] = field(default_factory=dict)

    def finished(self, upload: Upload, after: ClientState) -> tuple[Upload, ClientState]:
        """Turn an upload's change into one of the received weights, and keep the client's own in its state."""
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
        told = {_SHARE: self.notes[_SHARE]} if self.notes else {}
        memory = {**after.memory, **add_prefix(_PREFIX, own)}
        upload = replace(upload, change=change, notes={**upload.notes, **told})
        return upload, replace(after, memory=memory, notes={**after.notes, **self.notes})


def _without_own(client: ClientState) -> ClientState:
    """Return the state as the algorithm knows it."""
    memory = {name: value for name, value in client.memory.items() if not name.startswith(f"{_PREFIX}/")}
    return replace(client, memory=memory, notes={k: v for k, v in client.notes.items() if k not in (_SHARE, _ROUND)})


def _weights(broadcast: Broadcast) -> Tensors:
    """Return the weights in a broadcast by their names in the network."""
    return {**broadcast.shared, **strip_prefix(OWN_WEIGHTS, broadcast.extra)}


def _mixed(broadcast: Broadcast, own: Tensors, share: float) -> Broadcast:
    """Return the broadcast with a share of its weights, and the rest of the client's own."""
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
