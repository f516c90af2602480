"""What a hospital writes down for itself: every request, what was done with it, and what left the house.

Each line holds the SHA-256 of the line before it, so that none can be changed or taken out unseen.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from omnifm.utils.lock import exclusively

_AHEAD = timedelta(minutes=5)
_BLOCK = 4096
"""The most bytes that are read from the end of a log at first."""
_log = logging.getLogger("omnifm")


@dataclass(frozen=True)
class AuditLog:
    """A file of one line a request.

    At ``most_bytes`` it is put aside as ``NAME-000001.jsonl``, the next one as ``NAME-000002.jsonl``; the newest
    ``files`` of those are kept.
    """

    path: Path
    most_bytes: int = 5_000_000
    files: int = 20

    def write(self, **entry: Any) -> None:
        """Add a line, with the time and the digest of the line before, and wait until it is on the disk.

        Raises:
            OSError: it cannot be written.
        """
        with exclusively(self.path.with_suffix(".lock")):
            last = self._last_line()
            if last and (problem := _problem(last)):
                _log.warning("The audit log %s: its last line %s; it stays, and the log goes on.", self.path, problem)
            chained = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "previous": _digest(last), **entry}
            line = json.dumps(chained).encode() + b"\n"
            if self.path.exists() and self.path.stat().st_size + len(line) > self.most_bytes:
                self._put_aside()
            self._append(line)

    def rounds_in_circle(self, run: str, arm: str, number: int, circle: int | None) -> int:
        """Count for how many rounds in a row, round ``number`` included, the hospital has trained in this circle.

        The newest entry of an earlier round says how many there were before; older versions did not write that down.
        """
        seen = set[int]()
        for entry in self._newest_of(run):
            before = entry.get("round", 0)
            if entry.get("arm") != arm or not entry.get("trained") or "circle" not in entry:
                continue
            if before >= number or before in seen:
                continue
            if entry["circle"] != circle:
                break
            if "circle_rounds" in entry:
                return 1 + len(seen) + int(entry["circle_rounds"])
            seen.add(before)
        return 1 + len(seen)

    def parts(self) -> list[Path]:
        """Return the files of the log, the oldest first."""
        return [*self._aside(), *([self.path] if self.path.exists() else [])]

    def _aside(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.stem}-[0-9]*{self.path.suffix}"))

    def _newest_parts(self) -> Iterator[Path]:
        """Yield what :meth:`parts` returns, from the end; the folder is listed only if the present file will not do."""
        if self.path.exists():
            yield self.path
        yield from reversed(self._aside())

    def _newest_of(self, run: str) -> Iterator[dict[str, Any]]:
        """Yield the entries of a run in the present file and the one before it, the newest first.

        What is none is passed over, with a warning. Lines of other runs are not read: a log can be long.
        """
        name = json.dumps(run).encode()
        for path in islice(self._newest_parts(), 2):
            for place, line in _newest_first(path):
                if name not in line:
                    continue
                entry = _entry(line)
                if entry is None:
                    number = path.read_bytes().count(b"\n", 0, place) + 1
                    _log.warning("The audit log %s: line %d %s; it is passed over.", path, number, _problem(line))
                elif entry.get("run") == run:
                    yield entry

    def _last_line(self) -> bytes:
        for path in self._newest_parts():
            for _, line in _newest_first(path):
                return line
        return b""

    def _put_aside(self) -> None:
        aside = self.parts()[:-1]
        number = int(aside[-1].stem.rpartition("-")[2]) + 1 if aside else 1
        self.path.rename(self.path.with_stem(f"{self.path.stem}-{number:06d}"))
        for old in aside[: max(0, len(aside) + 1 - self.files)]:
            old.unlink()

    def _append(self, line: bytes) -> None:
        with self.path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line  # a crash has cut the one before short
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def audited(path: Path) -> tuple[int, str, list[str]]:
    """Check the chain of a log, and of its older files beside it.

    Returns:
        The number of entries, the digest of the last line, and what is wrong, a sentence each.

    Raises:
        OSError: a file cannot be read.
    """
    count, last, problems = 0, b"", list[str]()
    for part in AuditLog(path).parts():
        for number, line in _lines(part):
            entry, place = _entry(line), f"{part.name}, line {number}"
            if problem := _problem(line):
                problems.append(f"{place}: it {problem}.")
            if entry is not None and "previous" not in entry:
                problems.append(f"{place}: it holds no digest of the line before it.")
            elif entry is not None and last and entry["previous"] != _digest(last):
                problems.append(f"{place}: the line before it is not the one that was there when it was written.")
            count, last = count + 1, line
    return count, _digest(last), problems


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            yield number, line


def _newest_first(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield where each line begins, and the line, from the end: most who ask need the newest few of a long log."""
    with path.open("rb") as file:
        start, most, first = file.seek(0, os.SEEK_END), _BLOCK, b""
        while start:
            end, start, most = start, max(0, start - most), 2 * most  # a long line is put together in a few steps
            file.seek(start)
            first, *lines = (file.read(end - start) + first).split(b"\n")
            place = start + len(first) + sum(len(line) + 1 for line in lines)
            for line in reversed(lines):
                place -= len(line)
                if line.strip():
                    yield place, line
                place -= 1
        if first.strip():
            yield 0, first


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None


def _problem(line: bytes) -> str:
    """Return what is wrong with a line, or ""."""
    entry = _entry(line)
    if entry is None:
        return "is not an entry"
    try:
        ahead = datetime.fromisoformat(entry["time"]) > datetime.now(UTC) + _AHEAD
    except (KeyError, TypeError, ValueError):
        return "has no valid time"
    return "is dated in the future" if ahead else ""


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest() if line else ""
