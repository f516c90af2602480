"""What a check of data has found: one problem, where it is, and what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
"""An error makes a run impossible or its results wrong; a warning is for a person to judge."""


_MANY = 8
"""From more rows than these, one line says what is wrong with all of them."""
_ROW = ", row "


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


def lines_of(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the findings as lines to print; what is wrong alike with many rows of a table is one line."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in findings:
        table, _, row = one.place.rpartition(_ROW)
        if table and row.isdecimal():
            rows[table, one.text].append(int(row))
    for one in findings:
        table, _, row = one.place.rpartition(_ROW)
        alike = rows.get((table, one.text), [])
        if len(alike) <= _MANY or not row.isdecimal():
            yield str(one)
        elif int(row) == alike[0]:
            yield f"{table}, each of {len(alike)} rows ({_ranges(sorted(alike))}): {one.text}"


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``2-5, 8`` of 2, 3, 4, 5 and 8."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
