"""Requests to end: Ctrl-C, SIGTERM, a terminal that is gone. All end the work in the same way."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
HANGUP = getattr(signal, "SIGHUP", None)
PATIENCE = 10.0
"""Seconds in which a second request does nothing, so that the first is carried out in peace."""


class Interrupted(KeyboardInterrupt):
    """A request to end has come, as this signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @property
    def status(self) -> int:
        """The exit status that shells use for it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


@contextmanager
def interruptible() -> Iterator[None]:
    """Let every request to end raise :class:`Interrupted` in this block; after one, all others are ignored.

    A signal that was ignored before stays so: ``nohup`` means it.
    """
    requested = -PATIENCE

    def raise_once(number: int, _: FrameType | None) -> None:
        nonlocal requested
        if number == HANGUP:
            _leave_terminal()
        if time.monotonic() - requested > PATIENCE:
            requested = time.monotonic()
            raise Interrupted(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, raise_once)
    try:
        yield
    except Interrupted:
        before = dict.fromkeys(before, signal.SIG_IGN)  # what is left to do is to say so and to leave
        raise
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def _leave_terminal() -> None:
    """Write into nothing from now on: every word to a terminal that is gone would be an error of its own."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(nothing, descriptor)
    os.close(nothing)
