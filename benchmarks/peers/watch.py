"""CPU seconds and memory of a process and its descendants, read from /proc (Linux only)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from bisect import bisect_left
from pathlib import Path

from process_tree import descendants, proportional_memory

_TICK = os.sysconf("SC_CLK_TCK")


class Watch:
    """Samples a process tree twice a second, from its start until the block ends. Use it as a context manager.

    Memory is the sum of the proportional set sizes: a page that several processes share counts once.
    """

    def __init__(self, process: int) -> None:
        self.peak_bytes = 0
        self._process = process
        self._cpu: dict[int, float] = {}
        self._times, self._totals = [time.monotonic()], [0.0]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def cpu_seconds(self, start: float, end: float) -> float:
        """Return the CPU seconds between two times of the monotonic clock, linear between samples."""
        return self._at(end) - self._at(start)

    def _at(self, when: float) -> float:
        place = min(max(bisect_left(self._times, when), 1), len(self._times) - 1)
        (t0, t1), (c0, c1) = self._times[place - 1 : place + 1], self._totals[place - 1 : place + 1]
        return c0 + (c1 - c0) * min(1.0, (when - t0) / (t1 - t0))

    def _sample(self) -> None:
        while not self._end.wait(0.5):
            self._cpu |= _tree(self._process)
            self.peak_bytes = max(self.peak_bytes, proportional_memory(self._process))
            self._times.append(time.monotonic())
            self._totals.append(sum(self._cpu.values()))


def _tree(root: int) -> dict[int, float]:
    """Return the CPU seconds so far of a process and its descendants, by process id."""
    seconds = {}
    for process in descendants(root):
        with contextlib.suppress(OSError):  # it has just ended
            stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
            fields = stat.rpartition(")")[2].split()
            seconds[process] = (int(fields[11]) + int(fields[12])) / _TICK
    return seconds
