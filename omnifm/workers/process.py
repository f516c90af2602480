"""One worker process: forked, so that it inherits what is in memory; it answers requests until its parent is gone."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch

from omnifm.utils.signals import forking, leave_to_parent
from omnifm.workers.memory import is_shortage, keep_heap

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class WorkerReply:
    """What came of the request of this number: ``value``, an ``error``, or a ``shortage`` of memory."""

    number: int
    value: Any = None
    error: Exception | None = None
    shortage: bool = False


class Worker:
    """A child process that does ``work`` on each request, one after another, on one thread."""

    def __init__(self, work: Callable[[Any], Any], siblings: Iterable[Worker]) -> None:
        context = get_context("fork")
        self.connection, there = context.Pipe()
        ends = [self.connection, *(worker.connection for worker in siblings)]
        self.process = context.Process(target=_serve, args=(work, there, ends, os.getpid()), daemon=True)
        with forking():
            try:
                self.process.start()
            finally:
                there.close()
        self.held: deque[int] = deque()
        """The numbers of the requests that it holds; it is working on the first."""

    def ask(self, number: int, request: Any) -> None:
        """Hand over a request; raises OSError if the worker is dead."""
        self.connection.send((number, request))
        self.held.append(number)

    def answer(self) -> WorkerReply:
        """Return the next reply; raises EOFError or OSError if the worker is dead."""
        reply: WorkerReply = self.connection.recv()
        self.held.remove(reply.number)
        return reply

    def end(self) -> str:
        """Check that the process is gone and return how it ended."""
        self.process.kill()
        self.process.join(5)
        self.connection.close()
        code = self.process.exitcode or 0
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _serve(work: Callable[[Any], Any], here: Connection, ends: list[Connection], parent: int) -> None:
    leave_to_parent()
    _die_with(parent)
    for end in ends:  # else a sibling would keep this worker's pipe open when the parent is gone
        end.close()
    torch.set_num_threads(1)
    keep_heap()
    gc.freeze()  # collecting what is inherited would touch, and so copy, every page of it
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        while True:
            number, request = here.recv()
            reply = _done(number, work, request)
            try:
                here.send(reply)
            except (TypeError, ValueError, AttributeError) as error:  # it cannot be sent; nothing was
                here.send(WorkerReply(number, error=RuntimeError(f"{reply.error or reply.value!r}: {error}")))


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before this call
            os._exit(1)


def _done(number: int, work: Callable[[Any], Any], request: Any) -> WorkerReply:
    try:
        return WorkerReply(number, work(request))
    except Exception as error:
        if is_shortage(error):
            return WorkerReply(number, shortage=True)
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        return WorkerReply(number, error=error)
