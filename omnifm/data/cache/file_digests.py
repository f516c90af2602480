"""The SHA-256 of files, remembered for as long as a file keeps its size and its time of change."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from omnifm.data.limits import check_regular
from omnifm.utils.errors import DataError

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)
_TABLE = """CREATE TABLE IF NOT EXISTS digests
(path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT) WITHOUT ROWID"""
_FRESH = 2.0  # seconds in which a file can change again without a later time: some file systems count by them


class FileState(NamedTuple):
    """What tells a file from a later one of the same path, without reading it; ``size`` -1 where there is none."""

    size: int
    changed: int


def state_of(path: Path) -> FileState:
    """Return the state of a file."""
    try:
        status = path.stat()
    except OSError:
        return FileState(-1, 0)
    return FileState(status.st_size, status.st_mtime_ns)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content; empty where there is none.

    Raises:
        DataError: it is no file, or cannot be read.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Let yourself read it, or remove it.") from error


class DigestStore:
    """Remembered digests, in a SQLite file that several processes may use. Paths are in it as digests only.

    Where the file cannot be used, nothing is remembered.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def known(self, paths: Sequence[Path], states: Sequence[FileState]) -> list[str]:
        """Return the digest of each file, empty where it is not remembered for this state."""

        def look(table: sqlite3.Connection) -> list[str]:
            found = []
            for path, state in zip(paths, states, strict=True):
                row = table.execute(
                    "SELECT size, changed, digest FROM digests WHERE path = ?", (_key(path),)
                ).fetchone()
                found.append(str(row[2]) if row is not None and row[:2] == tuple(state) else "")
            return found

        return (self._use(look) if self._file.exists() else None) or [""] * len(paths)

    def remember(self, paths: Sequence[Path], states: Sequence[FileState], digests: Sequence[str]) -> None:
        """Remember the digests of files that were in these states before they were read."""
        latest = time.time_ns() - _FRESH * 1e9
        rows = [
            (_key(path), *state, digest)
            for path, state, digest in zip(paths, states, digests, strict=True)
            if digest and state.changed < latest and state == state_of(path)
        ]

        def write(table: sqlite3.Connection) -> None:
            with table:
                table.execute(_TABLE)
                table.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", rows)

        if rows:
            self._use(write)

    def _use(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        """Do work on the table; None where the file cannot be used."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=30)) as table:
                return work(table)
        except (sqlite3.OperationalError, OSError) as error:  # read-only, full, locked, or without the table
            _log.info("%s cannot be used (%s); files are read again.", self._file, error)
        except sqlite3.DatabaseError:
            _log.warning("%s is damaged: making it again.", self._file)
            self._file.unlink(missing_ok=True)
        return None


def _key(path: Path) -> bytes:
    return hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).digest()[:16]
