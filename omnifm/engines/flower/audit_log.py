"""What a hospital writes down for itself: every request, what was done with it, and what left the house."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

_DAY = timedelta(hours=24)


@dataclass(frozen=True)
class AuditLog:
    """``audit_log.jsonl`` in the state folder: a line a request."""

    path: Path

    def write(self, **entry: Any) -> None:
        """Add a line, with the time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), **entry})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}")  # a line that a crash cut short does not spoil this one

    def rounds_today(self, but: tuple[str, str, int]) -> int:
        """Count the rounds that were trained within the last 24 hours; ``but`` (run, arm, round) is not counted."""
        since = datetime.now(UTC) - _DAY
        found = {
            (line["run"], line["arm"], line["round"])
            for line in self._lines()
            if line.get("trained") and datetime.fromisoformat(line["time"]) > since
        }
        return len(found - {but})

    def rounds_in_circle(self, run: str, arm: str, number: int, circle: int | None) -> int:
        """Count for how many rounds in a row, round ``number`` included, the hospital has trained in this circle."""
        found = {
            line["round"]: line["circle"]
            for line in self._lines()
            if line.get("trained") and "circle" in line and (line["run"], line["arm"]) == (run, arm)
        }
        before = [found[other] for other in sorted(found, reverse=True) if other < number]
        return 1 + sum(1 for _ in takewhile(lambda other: other == circle, before))

    def _lines(self) -> list[dict[str, Any]]:
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                lines.append(dict(json.loads(text)))
            except ValueError:
                continue
        return lines
