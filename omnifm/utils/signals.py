"""Requests to end the program: Ctrl-C, SIGTERM, or a terminal that has been closed.

The signal handler sets a flag, and the loops that do the long work look at it. Where no such loop is running (imports,
loading of data) the handler raises :class:`Interrupted` itself. If a library swallows that, the next loop still ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from omnifm.utils.work_limit import check_time

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_HANGUP = getattr(signal, "SIGHUP", None)
_SAME_REQUEST = 1.0
"""Seconds in which further signals belong to the first: ``timeout`` and a closed terminal send it more than once."""


class Interrupted(KeyboardInterrupt):
    """The program was asked to end, by this signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @property
    def status(self) -> int:
        """The exit status that shells use for it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


class _Request:
    """The signal that asked for the end, 0 if none has, and how many loops are looking out for it."""

    def __init__(self) -> None:
        self.number, self.time, self.loops = 0, 0.0, 0

    def handle(self, number: int, _: FrameType | None) -> None:
        if number == _HANGUP:
            _leave_terminal()
        if not self.number:
            self.number, self.time = number, time.monotonic()
            if not self.loops:
                raise Interrupted(number)
        elif time.monotonic() > self.time + _SAME_REQUEST:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


_request = _Request()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let a signal that asks for the end raise :class:`Interrupted` in this block; a second one ends the process.

    A signal that was ignored before stays so: ``nohup`` means it.
    """
    global _request
    _request = request = _Request()
    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, request.handle)
    try:
        yield
    except Interrupted:
        before = {}  # what is left to do is to say so and to leave: only a second signal may cut that short
        raise
    finally:
        _request = _Request()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def cooperative() -> Iterator[None]:
    """Let no signal interrupt this block but where it calls :func:`check_interrupts`, and at its end."""
    request = _request
    request.loops += 1
    try:
        yield
    finally:
        request.loops -= 1
    check_interrupts()


def check_interrupts() -> None:
    """Raise :class:`Interrupted` if the program was asked to end; cheap enough to be called for every batch.

    Raises:
        WorkLimitError: the time that the work may take is over.
    """
    if _request.number:
        raise Interrupted(_request.number)
    check_time()


@contextmanager
def forking() -> Iterator[None]:
    """Keep signals from a process that is forked in this block, until it calls :func:`leave_to_parent`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Let a worker process heed none of the requests but SIGTERM: its parent decides what they mean, and ends it."""
    global _request
    _request = _Request()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _leave_terminal() -> None:
    """Write to nowhere from now on: every write to a terminal that is gone would be an error of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it may be closed
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)
