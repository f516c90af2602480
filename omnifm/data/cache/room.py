"""How much the cache may hold: what was used least recently goes first."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger(__name__)

GIB = 1024**3
IMAGE_FOLDER = "images"
"""The folder of prepared images in the cache."""
_ABANDONED = 24 * 3600.0  # seconds after which a file that nobody has finished is nobody's


class _Kept(NamedTuple):
    """Files that go together."""

    used: float
    size: int
    files: tuple[Path, ...]


def make_room(cache: Path, limit: float, keep: Path) -> None:
    """Remove what was used least recently until the cache holds no more than ``limit`` bytes; never ``keep``.

    A file that another process has mapped stays readable to it. What cannot be removed stays.
    """
    with suppress(OSError):  # other processes make room too
        kept = [*_prepared(cache / IMAGE_FOLDER), *_made(cache)]
        total = sum(one.size for one in kept)
        for one in sorted(kept):
            if total <= limit:
                break
            if keep not in one.files:
                _remove(one.files)
                total -= one.size
                _log.info("Removed %s from the cache: it was not used for longest.", one.files[0])


def _prepared(folder: Path) -> Iterator[_Kept]:
    """Yield the entries of prepared images; remove what was abandoned in the middle."""
    groups: dict[str, list[Path]] = {}
    for path in folder.glob("*"):
        if path.name[0] == ".":
            _remove_abandoned(path)
        else:
            groups.setdefault(path.name.partition(".")[0], []).append(path)
    for name, files in groups.items():
        described = folder / f"{name}.json"
        if described in files:
            first = [described, *(path for path in files if path != described)]  # without it there is no entry
            yield _Kept(described.stat().st_mtime, sum(path.stat().st_size for path in files), tuple(first))
        else:
            for path in files:
                _remove_abandoned(path)


def _made(cache: Path) -> Iterator[_Kept]:
    """Yield the files of synthetic data."""
    for path in cache.glob("phantom-*.safetensors"):
        status = path.stat()
        yield _Kept(max(status.st_atime, status.st_mtime), status.st_size, (path,))


def _remove_abandoned(path: Path) -> None:
    if path.stat().st_mtime < time.time() - _ABANDONED:
        _remove((path,))


def _remove(files: tuple[Path, ...]) -> None:
    for path in files:
        with suppress(OSError):
            path.unlink()
