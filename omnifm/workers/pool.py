"""A pool of worker processes: requests in, results out in the same order, whatever happens to a worker.

A worker that is killed is replaced and its request repeated. One that runs out of memory is not replaced: the pool
continues with fewer workers and logs it. Repeating a request must therefore change nothing.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from omnifm.utils.errors import OmniFMError
from omnifm.utils.signals import check_interrupts, cooperative
from omnifm.workers import memory
from omnifm.workers.process import Worker, WorkerReply

_Request = TypeVar("_Request")
_Result = TypeVar("_Result")

ATTEMPTS = 3
_TICK = 0.5
_log = logging.getLogger("omnifm")


def auto_workers() -> int:
    """Return how many workers suit this machine: one a core where processes can fork, else one."""
    if sys.platform != "linux":
        return 1
    return len(os.sched_getaffinity(0))


class WorkerPool(Generic[_Request, _Result]):
    """Worker processes that call ``work`` on each request. Use it as a context manager.

    Args:
        workers: how many, at least one.
        work: called in a worker; it may use all that is in memory when its process starts.
        queue: requests that a worker holds at a time: 2 lets it begin the next at once, 1 leaves each to the first
            worker that is free, which is better where requests take minutes.
        ahead: how many requests may have been handed out beyond the first whose result is not yet taken, 0 for no
            limit. It bounds the memory of results that wait for their turn.
    """

    def __init__(self, workers: int, work: Callable[[_Request], _Result], queue: int = 1, ahead: int = 0) -> None:
        self._work, self._queue, self._ahead = work, queue, ahead
        self._size = workers
        self._workers: list[Worker] = []
        self._kills = memory.kills()

    def __enter__(self) -> WorkerPool[_Request, _Result]:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> None:
        """Stop all workers without waiting for what they are doing."""
        self._stop(self._workers)

    def run(
        self, names: Sequence[str], request: Callable[[str], _Request], tick: Callable[[], None] = lambda: None
    ) -> Iterator[_Result]:
        """Yield the result of each named request, in their order, each as soon as it and those before it are there.

        Args:
            names: of the requests, for messages.
            request: makes the request of a name, once, when a worker is free for it.
            tick: called at least twice a second while results are awaited.

        Raises:
            OmniFMError: a request has killed its worker ``ATTEMPTS`` times, or memory is too small for one worker.
            Interrupted: the program was asked to end.
            Exception: whatever ``work`` raised, when its turn comes.
        """
        job = _Job(names, request)
        try:
            with cooperative():
                for number in range(len(names)):
                    yield self._result(job, number, tick)
        finally:
            self._stop([worker for worker in self._workers if worker.held])  # nobody waits for their replies

    def _result(self, job: _Job[_Request], number: int, tick: Callable[[], None]) -> _Result:
        """Wait for a request's result, and keep the workers busy meanwhile."""
        limit = number + self._ahead if self._ahead else job.size
        self._hand_out(job, limit)
        while number not in job.replies:
            check_interrupts()
            self._listen(job)
            self._hand_out(job, limit)
            tick()
        reply = job.replies.pop(number)
        if reply.error is not None:
            raise reply.error
        result: _Result = reply.value
        return result

    def _hand_out(self, job: _Job[_Request], limit: int) -> None:
        """Give waiting requests with numbers below the limit to the workers that hold the fewest."""
        while job.waiting and job.waiting[0] < limit:
            if len(self._workers) < self._size:
                self._start()
            worker = min(self._workers, key=lambda worker: len(worker.held))
            # The last few go to whichever worker is free first, so that none waits behind a long one.
            if len(worker.held) >= (self._queue if len(job.waiting) >= self._size else 1):
                return
            try:
                worker.ask(job.waiting[0], job.request(job.waiting[0]))
            except OSError:
                self._on_death(worker, job)
            else:
                job.waiting.pop(0)

    def _listen(self, job: _Job[_Request]) -> None:
        """Wait until workers have replied or died, or a tick has passed."""
        by_connection = {worker.connection: worker for worker in self._workers if worker.held}
        for ready in connection.wait(list(by_connection), timeout=_TICK):
            worker = by_connection[ready]  # type: ignore[index]
            try:
                reply = worker.answer()
            except (EOFError, OSError):
                self._on_death(worker, job)
                continue
            if reply.shortage:
                job.take_back(reply.number, *worker.held)
                self._stop([worker])
                self._reduce()
            else:
                job.replies[reply.number] = reply

    def _on_death(self, worker: Worker, job: _Job[_Request]) -> None:
        """Take a dead worker's requests back; the first, which it was working on, has had an attempt."""
        job.take_back(*worker.held)
        self._workers.remove(worker)
        how = worker.end()
        kills, self._kills = self._kills, memory.kills()
        if how == "SIGKILL" and self._kills > kills:
            self._reduce()
        elif worker.held:
            job.count_attempt(worker.held[0], how)

    def _reduce(self) -> None:
        """Continue with one worker less: in its memory there is room for the others."""
        if self._size == 1:
            raise OmniFMError(
                "There is not enough memory for even one worker process. Lower training.batch_size or data.size, "
                "or use a machine with more memory."
            )
        self._size -= 1
        _log.warning(
            "A worker process ran out of memory: continuing with %d. To start with as many, use --workers %d.",
            self._size,
            self._size,
        )

    def _start(self) -> None:
        try:
            self._workers.append(Worker(self._work, self._workers))
        except ValueError:
            raise OmniFMError("This system cannot fork processes: use --workers 1.") from None
        except OSError as error:  # no memory for a process, or too many of them
            if not self._workers:
                raise OmniFMError(f"No worker process can be started: {error.strerror}.") from None
            _log.warning("No further worker process can be started (%s): continuing with fewer.", error.strerror)
            self._size = len(self._workers)

    def _stop(self, workers: Sequence[Worker]) -> None:
        for worker in list(workers):
            self._workers.remove(worker)
            worker.end()


class _Job(Generic[_Request]):
    """The requests of one call, by number: which wait for a worker, and the replies that wait for their turn."""

    def __init__(self, names: Sequence[str], make: Callable[[str], _Request]) -> None:
        self.size, self._names, self._make = len(names), names, make
        self._made: dict[int, _Request] = {}
        self._attempts: dict[int, int] = {}
        self.waiting = list(range(len(names)))
        self.replies: dict[int, WorkerReply] = {}

    def request(self, number: int) -> _Request:
        """Return the request of this number; when it is repeated, it is the same."""
        if number not in self._made:
            self._made[number] = self._make(self._names[number])
        return self._made[number]

    def take_back(self, *numbers: int) -> None:
        """Let these requests wait for another worker."""
        self.waiting = sorted([*numbers, *self.waiting])

    def count_attempt(self, number: int, how: str) -> None:
        """Count an attempt that killed its worker; after the last, the reply is an error."""
        attempts = self._attempts[number] = self._attempts.get(number, 0) + 1
        name = self._names[number]
        if attempts < ATTEMPTS:
            _log.warning("The worker process at %r died (%s): another one does it again.", name, how)
            return
        self.waiting.remove(number)
        error = OmniFMError(
            f"{attempts} worker processes died, one after another, at {name!r} (last: {how}). Look at its data, or "
            f"run with --workers 1 to see the error itself."
        )
        self.replies[number] = WorkerReply(number, error=error)
