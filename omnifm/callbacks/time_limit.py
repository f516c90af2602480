"""A time limit: the work pauses between two rounds, before the limit would be passed, and can be resumed."""

from __future__ import annotations

import math
import mmap
import re
import time
from collections.abc import Callable

from omnifm.callbacks.callback import Callback, Stop
from omnifm.callbacks.events import ArmStart, CheckpointEvent, RoundStart
from omnifm.utils.errors import ExperimentError

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


class TimeLimit(Callback):
    """Pauses the work when the longest round so far, with its evaluation, might no longer fit before the limit.

    One round always runs, so that a resumed run makes progress. Forked processes share the measured times.

    Args:
        text: the limit, as ``parse_duration`` reads it; None for no limit.
        started: the start, by ``clock``; now if not given.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, text: str | None = None, started: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = math.inf if text is None else parse_duration(text)
        self.clock = clock
        self._started = clock() if started is None else started
        self._longest = memoryview(mmap.mmap(-1, 8)).cast("d")
        self._began: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is no time for one more round."""
        longest = self._longest[0]
        return longest > 0 and self.clock() - self._started + longest > self.seconds

    def note(self, seconds: float) -> None:
        """Take a round's time into account."""
        self._longest[0] = max(self._longest[0], seconds)

    def on_arm_start(self, event: ArmStart) -> None:
        """Forget when the last arm's last round began."""
        self._began = None

    def on_round_start(self, event: RoundStart) -> Stop | None:
        """Note the time of the round before, and stop if another round might not end in time."""
        self._note()
        if self.is_over:
            return Stop("Time is up", pause=True)
        self._began = self.clock()
        return None

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Note a round's time, with its evaluation and its checkpoint."""
        self._note()

    def _note(self) -> None:
        if self._began is not None:
            self.note(self.clock() - self._began)
