"""What a check of data has found: one problem, where it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
"""An error makes a run impossible or its results wrong; a warning is for a person to judge."""


@dataclass(frozen=True)
class Finding:
    """One problem. ``place`` is a file, or a table and its row; ``text`` says what is wrong there and what to do."""

    severity: Severity
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def error(place: object, text: str) -> Finding:
    """Return a problem that makes a run impossible, or its results wrong."""
    return Finding("error", str(place), text)


def caution(place: object, text: str) -> Finding:
    """Return a problem that a person has to judge."""
    return Finding("warning", str(place), text)
