"""Clients in parallel in forked workers, each with all data; weights pass through shared memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, Upload
from omnifm.engines.shared_memory import SharedMemory
from omnifm.federation.client import ClientRuntime
from omnifm.federation.loop import Messages
from omnifm.tasks.task import Scores
from omnifm.workers.pool import WorkerPool

_EACH, _MOST = 8, 16
"""The least groups of clients to evaluate per worker, and the most clients in a group."""


class _BroadcastRef(NamedTuple):
    """The ``number``-th broadcast in shared memory, ``size`` bytes long."""

    number: int
    size: int


class _Message(NamedTuple):
    """A client's own message, in a region of its own."""

    region: int
    size: int


class _Client(NamedTuple):
    """A client, the digest of its state and its message, if it has any."""

    name: str
    state: str | None
    message: _Message | None


class _Training(NamedTuple):
    """Train this client, and write its upload to this region."""

    reference: _BroadcastRef
    client: _Client
    region: int


class _Evaluation(NamedTuple):
    """Evaluate these clients."""

    reference: _BroadcastRef
    clients: list[_Client]
    split: Split
    point: EvaluationPoint


class ProcessPoolEngine:
    """So many workers for the clients, whose data they see as at their start."""

    def __init__(self, runtime: ClientRuntime, states: ClientStateStore, workers: int) -> None:
        self._runtime, self._states, self._workers = runtime, states, workers
        self._memory = SharedMemory()
        self._board = self._memory.claim()
        self._sent = 0
        self._read: tuple[int, Broadcast] | None = None  # in a worker: the broadcast that it has read last
        self._worker_pool: WorkerPool[_Training | _Evaluation, Any] = WorkerPool(
            workers, self._work, queue=2, ahead=2 * workers
        )

    def close(self) -> None:
        """End the workers and give the shared memory back."""
        self._worker_pool.close()
        self._memory.close()

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], states: Mapping[str, str], messages: Messages
    ) -> Iterator[tuple[Upload, str | None, float]]:
        """Train the clients; yield the upload, the new state and the seconds of each, in order."""
        reference = self._publish(broadcast)
        pending: dict[str, _Training] = {}

        def request(client: str) -> _Training:
            pending[client] = _Training(reference, self._addressed(client, states, messages), self._memory.claim())
            return pending[client]

        for client, (size, state, seconds) in zip(clients, self._worker_pool.run(clients, request), strict=True):
            done = pending.pop(client)
            self._let_go(done.client)
            yield self._memory.read(done.region, size, Upload, release=True), state, seconds

    def evaluate(
        self,
        broadcast: Broadcast,
        clients: Sequence[str],
        states: Mapping[str, str],
        split: Split,
        point: EvaluationPoint,
        messages: Messages,
    ) -> Iterator[tuple[str, Scores]]:
        """Evaluate the clients; yield the scores of each.

        An evaluation can take a millisecond, less than its request: every request is for several clients.
        """
        reference = self._publish(broadcast)
        count = max(_EACH * self._workers, len(clients) // _MOST)
        groups = {group[0]: group for start in range(count) if (group := clients[start::count])}
        pending: dict[str, _Evaluation] = {}

        def request(first: str) -> _Evaluation:
            addressed = [self._addressed(client, states, messages) for client in groups[first]]
            pending[first] = _Evaluation(reference, addressed, split, point)
            return pending[first]

        for first, found in zip(groups, self._worker_pool.run(list(groups), request), strict=True):
            for client in pending.pop(first).clients:
                self._let_go(client)
            yield from zip(groups[first], found, strict=True)

    def _addressed(self, client: str, states: Mapping[str, str], messages: Messages) -> _Client:
        """Write the client's message, if it has one, to shared memory."""
        place = None
        if message := messages.get(client):
            region = self._memory.claim()
            place = _Message(region, self._memory.write(region, Broadcast(0, {}, message)))
        return _Client(client, states.get(client), place)

    def _let_go(self, client: _Client) -> None:
        if client.message is not None:
            self._memory.release(client.message.region)

    def _publish(self, broadcast: Broadcast) -> _BroadcastRef:
        self._sent += 1
        return _BroadcastRef(self._sent, self._memory.write(self._board, broadcast))

    def _work(self, request: _Training | _Evaluation) -> Any:
        """Handle a request in a worker: return the upload's size, the new state and the seconds, or the scores."""
        broadcast = self._received(request.reference)
        if isinstance(request, _Evaluation):
            return [self._evaluated(broadcast, client, request.split, request.point) for client in request.clients]
        name, state, _ = request.client
        received = self._own(broadcast, request.client)
        upload, after, seconds = self._runtime.update_stored(received, name, state, self._states)
        return self._memory.write(request.region, upload), after, seconds

    def _evaluated(self, broadcast: Broadcast, client: _Client, split: Split, point: EvaluationPoint) -> Scores:
        received = self._own(broadcast, client)
        return self._runtime.evaluate_stored(received, client.name, client.state, self._states, split, point)

    def _own(self, broadcast: Broadcast, client: _Client) -> Broadcast:
        """Return the broadcast with the client's own message."""
        if client.message is None:
            return broadcast
        return broadcast.with_message(self._memory.read(*client.message, Broadcast).extra)

    def _received(self, reference: _BroadcastRef) -> Broadcast:
        if self._read is None or self._read[0] != reference.number:
            self._read = reference.number, self._memory.read(self._board, reference.size, Broadcast)
        return self._read[1]
