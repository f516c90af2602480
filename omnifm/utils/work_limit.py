"""A limit on the work of one request: the loops that do the long work look at it, and end when it is reached."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from omnifm.utils.errors import OmniFMError


class WorkLimitError(OmniFMError):
    """The work takes longer, or passes over the data more often, than was allowed; says what."""


@dataclass
class _Limit:
    seconds: float
    epochs: int
    end: float
    begun: int = 0


_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)


@contextmanager
def limited(seconds: float, epochs: int = 0) -> Iterator[None]:
    """Let the work in this block take at most so many seconds and passes over the training data (0: any number)."""
    token = _limit.set(_Limit(seconds, epochs, time.monotonic() + seconds))
    try:
        yield
    finally:
        _limit.reset(token)


def check_time() -> None:
    """Raise :class:`WorkLimitError` if the time is over; :func:`omnifm.utils.signals.check_interrupts` calls it."""
    limit = _limit.get()
    if limit is not None and time.monotonic() > limit.end:
        raise WorkLimitError(f"The work takes longer than the {limit.seconds:g} seconds that it may take.")


def begin_epoch() -> None:
    """Count a pass over the training data; raise :class:`WorkLimitError` if it is one too many."""
    limit = _limit.get()
    if limit is None:
        return
    limit.begun += 1
    if 0 < limit.epochs < limit.begun:
        raise WorkLimitError(f"Training passes over the data more often than the {limit.epochs} times that it may.")
