"""A limit of time: the work ends between two rounds, before the limit would be passed, and can be resumed."""

from __future__ import annotations

import math
import mmap
import re
import time
from collections.abc import Callable, Sequence

from omnifm.federation.loop import Callback, Checkpoint
from omnifm.runs.arm import Arm
from omnifm.utils.errors import ExperimentError, OutOfTime

_FORM = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds of ``30m``, ``90s`` or ``1h30m``.

    Raises:
        ExperimentError: it is not written so, or is no time at all.
    """
    found = _FORM.fullmatch(text.strip().lower())
    parts = found.groups(default="0") if found else ()
    seconds = sum(float(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=bool(parts)))
    if not seconds:
        raise ExperimentError(f"--time-limit {text!r}: write it with its units, for example 90s, 30m or 1h30m.")
    return seconds


class TimeLimit:
    """Ends the work when the longest round so far, with its evaluation, might no longer fit before the limit.

    One round is always played, so that whoever resumes gets on. Processes forked from the one that made it share what
    they know of the rounds.

    Args:
        text: the limit, as ``parse_duration`` reads it; None for no limit.
        started: when the time began, by ``clock``; now if not given.
        clock: seconds, from any start on; it must not jump.
    """

    def __init__(
        self, text: str | None = None, started: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = math.inf if text is None else parse_duration(text)
        self.clock = clock
        self._started = clock() if started is None else started
        self._longest = memoryview(mmap.mmap(-1, 8)).cast("d")

    def check(self) -> None:
        """Raise OutOfTime unless there is time for one more round."""
        longest = self._longest[0]
        if longest and self.clock() - self._started + longest > self.seconds:
            raise OutOfTime

    def watch(self, name: str, arm: Arm) -> list[Callback]:
        """Return the callback that ends an arm in time."""
        return [_Rounds(self)]

    def note(self, seconds: float) -> None:
        """Take a round's time into account."""
        self._longest[0] = max(self._longest[0], seconds)


class _Rounds(Callback):
    """A round lasts until the next begins: with its evaluation and its checkpoint, or without if it is the last."""

    def __init__(self, limit: TimeLimit) -> None:
        self.limit = limit
        self.began: float | None = None

    def round_started(self, number: int, clients: Sequence[str]) -> None:
        self._note()
        self.limit.check()
        self.began = self.limit.clock()

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self._note()

    def _note(self) -> None:
        if self.began is not None:
            self.limit.note(self.limit.clock() - self.began)
