"""Clients side by side in forked workers, each of which has a desk; weights pass through shared memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, Upload
from omnifm.engines.desk import Desk
from omnifm.engines.shared_memory import SharedMemory
from omnifm.tasks.task import Scores
from omnifm.workers.pool import WorkerPool

_EACH, _MOST = 8, 16
"""Groups of clients to be judged for each worker, at least, and clients in a group, at most."""


class _BroadcastRef(NamedTuple):
    """The broadcast that stands in shared memory, as the ``number``-th there, ``size`` bytes long."""

    number: int
    size: int


class _Training(NamedTuple):
    """Train this client from this state, and lay its upload down in this region."""

    reference: _BroadcastRef
    client: str
    state: str | None
    region: int


class _Evaluation(NamedTuple):
    """Judge these clients in these states."""

    reference: _BroadcastRef
    clients: list[tuple[str, str | None]]
    split: Split
    point: EvaluationPoint


class ProcessPoolEngine:
    """So many workers at desks alike. They see the desk's data as they are when the team is made."""

    def __init__(self, desk: Desk, workers: int) -> None:
        self._desk, self._workers = desk, workers
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
        self, broadcast: Broadcast, clients: Sequence[str], states: Mapping[str, str]
    ) -> Iterator[tuple[Upload, str | None]]:
        """Train the clients; yield the upload and the new state of each, in order."""
        reference = self._publish(broadcast)
        regions: dict[str, int] = {}

        def request(client: str) -> _Training:
            regions[client] = self._memory.claim()
            return _Training(reference, client, states.get(client), regions[client])

        for client, (size, state) in zip(clients, self._worker_pool.run(clients, request), strict=True):
            yield self._memory.read(regions.pop(client), size, Upload, release=True), state

    def evaluate(
        self,
        broadcast: Broadcast,
        clients: Sequence[str],
        states: Mapping[str, str],
        split: Split,
        point: EvaluationPoint,
    ) -> Iterator[tuple[str, Scores]]:
        """Judge the clients; yield the scores of each.

        Judging may take a millisecond, less than asking for it: every request is for several clients.
        """
        reference = self._publish(broadcast)
        count = max(_EACH * self._workers, len(clients) // _MOST)
        groups = {group[0]: group for start in range(count) if (group := clients[start::count])}

        def request(first: str) -> _Evaluation:
            return _Evaluation(reference, [(client, states.get(client)) for client in groups[first]], split, point)

        for first, found in zip(groups, self._worker_pool.run(list(groups), request), strict=True):
            yield from zip(groups[first], found, strict=True)

    def _publish(self, broadcast: Broadcast) -> _BroadcastRef:
        self._sent += 1
        return _BroadcastRef(self._sent, self._memory.write(self._board, broadcast))

    def _work(self, request: _Training | _Evaluation) -> Any:
        """Do, in a worker, what is asked: return the size of the upload and the new state, or the scores."""
        broadcast = self._received(request.reference)
        if isinstance(request, _Evaluation):
            how = request.split, request.point
            return [self._desk.evaluate(broadcast, client, state, *how) for client, state in request.clients]
        upload, state = self._desk.update(broadcast, request.client, request.state)
        return self._memory.write(request.region, upload), state

    def _received(self, reference: _BroadcastRef) -> Broadcast:
        if self._read is None or self._read[0] != reference.number:
            self._read = reference.number, self._memory.read(self._board, reference.size, Broadcast)
        return self._read[1]
