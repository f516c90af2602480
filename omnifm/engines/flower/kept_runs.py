"""What a hospital keeps of its runs: a folder each, of which old ones go."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from omnifm.utils.atomic_write import append_flushed, write_atomically

_DAY = 24 * 3600.0
_LONG = 4096
"""At so many bytes the numbers of requests are written anew: the last of them alone."""


@dataclass(frozen=True)
class KeptRuns:
    """Folders by run: those of the last ``days``, and at most ``most``.

    The file ``issued`` in each holds the numbers of its last requests, a line each. The highest counts: of one that a
    power cut has cut short, what is left is lower.
    """

    folder: Path
    days: int
    most: int

    @property
    def names(self) -> set[str]:
        """The runs of which something is kept."""
        return {path.parent.name for path in self.folder.glob("*/issued")}

    def reject_old(self, run: str, issued: int) -> str:
        """Return "" for a request that is at least as new as all before it of its run, or why it is refused.

        One that the server has given up may still come, or be sent again by somebody else.
        """
        try:
            latest = max(map(int, (self.folder / run / "issued").read_bytes().split()))
        except FileNotFoundError:
            latest = 0
        return "The request is older than one that was answered." if issued < latest else ""

    def begin(self, run: str, issued: int) -> str:
        """Write down that a request of a run is answered, and make its folder; return why there is no room for it.

        To make room, runs go that were not asked for lately, the longest ago first, but none of the last 24 hours: a
        server that invents runs does not have the states of the real ones removed.
        """
        folder = self.folder / run
        if not folder.exists():
            if reason := self._make_room():
                return reason
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / "issued"
        if path.exists() and path.stat().st_size < _LONG:
            append_flushed(path, f"\n{issued}".encode())
        else:
            write_atomically(path, str(issued).encode())
        return ""

    def _make_room(self) -> str:
        now = time.time()
        ages = {path.parent: now - path.stat().st_mtime for path in self.folder.glob("*/issued")}
        oldest = sorted(ages, key=lambda run: -ages[run])
        for place, run in enumerate(oldest):
            too_many = len(oldest) - place >= self.most
            if ages[run] > self.days * _DAY or (too_many and ages[run] > _DAY):
                shutil.rmtree(run)
            elif too_many:
                return f"{self.most} runs were asked for within 24 hours, and more are not kept (keep_runs)."
        return ""
