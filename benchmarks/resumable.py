"""The results of a long study, a line of JSON a run: what stands in the file is not run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class ResumableResults:
    """Results in a file, of which only the ``lines`` with this budget count; others are left alone.

    Args:
        path: the file; it may not be there yet.
        budget: what the runs of the study have in common, such as their rounds.
    """

    def __init__(self, path: Path, budget: Line) -> None:
        self._path, self._budget = path, budget
        stored = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        self.lines: list[Line] = [line for line in stored if line["budget"] == budget]

    def add(self, about: Line, run: Callable[[], Line]) -> None:
        """Run what ``about`` says and keep what is found, unless such a line is there already."""
        about = {**about, "budget": self._budget}
        if any(about.items() <= line.items() for line in self.lines):
            return
        self.lines.append({**about, **run()})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")
