"""Requests to end: Ctrl-C, SIGTERM, a terminal that is gone. All end the work in the same way."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_HANGUP = getattr(signal, "SIGHUP", None)
_AGAIN = 0.05
"""Seconds after which a request that was dropped is made again."""


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
    """Let a request to end raise :class:`Interrupted` in this block; while one is carried out, others do nothing.

    A signal that was ignored before stays so: ``nohup`` means it.
    """
    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, _raise)
    try:
        with _insistent():
            yield
    except Interrupted:
        before = dict.fromkeys(before, signal.SIG_IGN)  # what is left to do is to say so and to leave
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C, and every other request to end, until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {number: signal.signal(number, lambda n, _: held.append(n)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def _raise(number: int, _: FrameType | None) -> None:
    if number == _HANGUP:
        _leave_terminal()
    if not _is_ending():
        raise Interrupted(number)


def _is_ending() -> bool:
    """Tell whether a request is being carried out: what runs, runs because of it."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return error is not None


@contextmanager
def _insistent() -> Iterator[None]:
    """Make a request again that came where Python drops every exception: in a destructor, or a hook of fork."""
    dropped: list[int] = []
    hook = sys.unraisablehook

    def notice(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, Interrupted):
            dropped.append(unraisable.exc_value.number)
            signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        else:
            hook(unraisable)

    if not hasattr(signal, "setitimer"):
        yield
        return
    alarm = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(dropped[-1]))
    sys.unraisablehook = notice
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        sys.unraisablehook = hook


def _leave_terminal() -> None:
    """Write into nothing from now on: every word to a terminal that is gone would be an error of its own."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it may be closed
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nothing, descriptor)
    os.close(nothing)
