"""Worker processes for one machine: forked, so that they inherit what is in memory, and never left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context
from typing import TypeVar

import torch

from omnifm.errors import OmniFMError
from omnifm.interrupts import SIGNALS, uninterrupted

T = TypeVar("T")


def auto_workers() -> int:
    """Return how many workers suit this machine: one a core where processes can fork, else one."""
    if sys.platform != "linux":
        return 1
    return len(os.sched_getaffinity(0))


class Crew:
    """So many workers, each of which first calls ``start(*arguments)``. Use it as a context manager.

    Each computes on one thread. When the block ends by an error, what they are at is not waited for.
    """

    def __init__(self, workers: int, start: Callable[..., None], *arguments: object) -> None:
        begin = (os.getpid(), start, arguments)
        self._pool = ProcessPoolExecutor(workers, get_context("fork"), _begin, begin)

    def submit(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        """Let a worker do this when one is free."""
        with uninterrupted():  # it may fork: a child that is just being made must not heed what is meant for us
            return self._pool.submit(work, *arguments)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self._pool.shutdown()
            return
        # Nobody waits for the minutes that a client's training may still take, nor for a lock that a worker held.
        workers = list((self._pool._processes or {}).values())
        for worker in workers:
            worker.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            connection.wait([worker.sentinel], timeout=5)


@contextmanager
def told_if_one_dies() -> Iterator[None]:
    """Turn the death of a worker in this block into an error that says what to do."""
    try:
        yield
    except BrokenProcessPool:
        raise OmniFMError(
            "A worker process died, perhaps for lack of memory. Resume with fewer: --workers 1."
        ) from None


def _begin(parent: int, start: Callable[..., None], arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the parent decides what Ctrl-C means, or a terminal that is gone
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    start(*arguments)


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
