"""What a hospital keeps of its runs: a folder each, of which old ones go."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from omnifm.utils.atomic_write import write_atomically

_DAY = 24 * 3600.0


@dataclass(frozen=True)
class KeptRuns:
    """Folders by run: those of the last ``days``, and at most ``most``."""

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
        path = self.folder / run / "issued"
        latest = int(path.read_text()) if path.exists() else 0
        return "The request is older than one that was answered." if issued < latest else ""

    def begin(self, run: str, issued: int) -> str:
        """Write down that a request of a run is answered, and make its folder; return why there is no room for it.

        To make room, runs go that were not asked for lately, the longest ago first, but none of the last 24 hours: a
        server that invents runs does not have the states of the real ones removed.
        """
        if reason := "" if (self.folder / run).exists() else self._make_room():
            return reason
        (self.folder / run).mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / run / "issued", str(issued).encode())
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
