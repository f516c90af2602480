"""A crew of worker processes: requests in, replies out in the same order, whatever happens to a worker.

A worker that is killed is replaced and its request done again. One that runs out of memory is not replaced: the crew
goes on smaller, and says so. Requests must therefore be such that doing one twice is the same as doing it once.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from omnifm.utils.errors import OmniFMError
from omnifm.workers import memory
from omnifm.workers.process import Reply, Worker

Request = TypeVar("Request")
Result = TypeVar("Result")

ATTEMPTS = 3
_TICK = 0.5
_log = logging.getLogger("omnifm")


def auto_workers() -> int:
    """Return how many workers suit this machine: one a core where processes can fork, else one."""
    if sys.platform != "linux":
        return 1
    return len(os.sched_getaffinity(0))


class WorkerPool(Generic[Request, Result]):
    """So many workers that do ``work`` on each request. Use it as a context manager.

    Args:
        workers: how many, at least one.
        work: called in a worker; it may use all that is in memory when the crew is made.
        queue: requests that a worker holds at a time: 2 lets it begin the next at once, 1 lets whoever is free first
            take it, which is better where requests take minutes.
        ahead: the most requests that are in hand beyond the first whose result is not yet taken; 0 for no limit.
            It bounds the memory of results that wait for their turn.
    """

    def __init__(self, workers: int, work: Callable[[Request], Result], queue: int = 1, ahead: int = 0) -> None:
        self._work, self._queue, self._ahead = work, queue, ahead
        self._size = workers
        self._workers: list[Worker] = []
        self._kills = memory.kills()

    def __enter__(self) -> WorkerPool[Request, Result]:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; what they are at is not waited for."""
        self._dismiss(self._workers)

    def run(
        self, names: Sequence[str], request: Callable[[str], Request], tick: Callable[[], None] = lambda: None
    ) -> Iterator[Result]:
        """Yield the result of each named request, in their order, each as soon as it and those before it are there.

        Args:
            names: what is to be done.
            request: makes the request of a name, once, when a worker is free for it.
            tick: called at least twice a second while results are waited for.

        Raises:
            OmniFMError: a request has killed its worker time and again, or memory does not suffice for one worker.
            Exception: whatever ``work`` raised, when its turn comes.
        """
        job = _Job(names, request)
        try:
            for number in range(len(names)):
                limit = number + self._ahead if self._ahead else len(names)
                self._hand_out(job, limit)
                while number not in job.replies:
                    self._listen(job)
                    self._hand_out(job, limit)
                    tick()
                reply = job.replies.pop(number)
                if reply.error is not None:
                    raise reply.error
                yield reply.value
        finally:
            self._dismiss([worker for worker in self._workers if worker.at])  # nobody waits for what they are at

    def _hand_out(self, job: _Job[Request], limit: int) -> None:
        """Give waiting requests with numbers below the limit to the workers that have least to do."""
        while job.waiting and job.waiting[0] < limit:
            if len(self._workers) < self._size:
                self._hire()
            worker = min(self._workers, key=lambda worker: len(worker.at))
            # The last few go to whoever is free first, so that none waits behind a long one.
            if len(worker.at) >= (self._queue if len(job.waiting) >= self._size else 1):
                return
            try:
                worker.ask(job.waiting[0], job.request(job.waiting[0]))
            except OSError:
                self._bury(worker, job)
            else:
                job.waiting.pop(0)

    def _listen(self, job: _Job[Request]) -> None:
        """Wait until a worker has something to say, or has died."""
        by_connection = {worker.connection: worker for worker in self._workers if worker.at}
        for ready in connection.wait(list(by_connection), timeout=_TICK):
            worker = by_connection[ready]  # type: ignore[index]
            try:
                reply = worker.answer()
            except (EOFError, OSError):
                self._bury(worker, job)
                continue
            if reply.shortage:
                job.waiting = sorted([reply.number, *worker.at, *job.waiting])
                self._shrink(worker)
            else:
                job.replies[reply.number] = reply

    def _bury(self, worker: Worker, job: _Job[Request]) -> None:
        """Take a dead worker's requests back; the one that it was at has had an attempt."""
        held = list(worker.at)
        job.waiting = sorted([*held, *job.waiting])
        self._workers.remove(worker)
        how = worker.end()
        kills, self._kills = self._kills, memory.kills()
        if how == "SIGKILL" and self._kills > kills:
            self._shrink(None)
        elif held and job.has_failed(held[0], how):
            job.waiting.remove(held[0])

    def _shrink(self, worker: Worker | None) -> None:
        """Go on with one worker less: with this one's memory there is room for the others."""
        if worker is not None:
            self._dismiss([worker])
        if self._size == 1:
            raise OmniFMError(
                "There is not enough memory for even one worker process. Lower training.batch_size or data.size, "
                "or use a machine with more memory."
            )
        self._size -= 1
        _log.warning(
            "A worker process ran out of memory: going on with %d. To start with as many, use --workers %d.",
            self._size,
            self._size,
        )

    def _hire(self) -> None:
        try:
            self._workers.append(Worker(self._work, self._workers))
        except ValueError:
            raise OmniFMError("This system cannot fork processes: use --workers 1.") from None
        except OSError as error:  # no memory for a process, or too many of them
            if not self._workers:
                raise OmniFMError(f"No worker process can be started: {error.strerror}.") from None
            _log.warning("No further worker process can be started (%s): going on with fewer.", error.strerror)
            self._size = len(self._workers)

    def _dismiss(self, workers: Sequence[Worker]) -> None:
        for worker in list(workers):
            self._workers.remove(worker)
            worker.end()


class _Job(Generic[Request]):
    """What one call asks for, by number: what waits for a worker, and the replies that wait for their turn."""

    def __init__(self, names: Sequence[str], make: Callable[[str], Request]) -> None:
        self._names, self._make = names, make
        self._made: dict[int, Request] = {}
        self._attempts: dict[int, int] = {}
        self.waiting = list(range(len(names)))
        self.replies: dict[int, Reply] = {}

    def request(self, number: int) -> Request:
        """Return the request of this number; when it is done again, it is the same."""
        if number not in self._made:
            self._made[number] = self._make(self._names[number])
        return self._made[number]

    def has_failed(self, number: int, how: str) -> bool:
        """Count an attempt that killed its worker; after the last, put an error in the place of the reply."""
        attempts = self._attempts[number] = self._attempts.get(number, 0) + 1
        what = self._names[number]
        if attempts < ATTEMPTS:
            _log.warning("The worker process at %r died (%s): another one does it again.", what, how)
            return False
        self.replies[number] = Reply(
            number,
            error=OmniFMError(
                f"{attempts} worker processes died, one after another, at {what!r} (last: {how}). Look at its data, "
                f"or run with --workers 1 to see the error itself."
            ),
        )
        return True
