"""Memory and processor time of a process and all its descendants (Linux)."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    processes = [pid]
    for process in processes:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                processes += map(int, (task / "children").read_text().split())
    return processes


def proportional_memory(pid: int) -> int:
    """Return the bytes of a process tree, pages that several share counted once (the sum of Linux's PSS)."""
    total = 0
    for process in descendants(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += 1024 * int(line.split()[1])
    return total


def processor_seconds(pid: int) -> float:
    """Return the processor time that the living processes of a tree have used."""
    total = 0
    for process in descendants(pid):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


class PeakMemory:
    """Watches a process tree during its block; ``peak`` is its highest memory in bytes."""

    def __init__(self, pid: int, seconds: float = 0.05) -> None:
        self.peak = 0
        self._pid, self._seconds, self._over = pid, seconds, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(self._seconds):
            self.peak = max(self.peak, proportional_memory(self._pid))

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
