"""The metrics log of one arm: JSON lines, one for each round and each evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omnifm.utils.atomic_write import write_atomically


class MetricsLog:
    """Appends to ``metrics.jsonl``. Each line has ``event`` and ``round``; see ``docs/run-folder.md``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, **values: Any) -> None:
        """Write one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Return all lines; a last one that a crash cut short is left out."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def forget_after(self, round_number: int) -> None:
        """Drop the lines of rounds that will be run again, and those of the test, which comes after them all."""
        kept = [line for line in self.read() if line["round"] <= round_number and line.get("split") != "test"]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
