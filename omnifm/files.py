"""Writing files so that a crash leaves either the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def remove_strays(folder: Path) -> None:
    """Remove what a kill in the midst of :func:`write_atomically` left behind, here and below."""
    for stray in folder.rglob(".*.tmp"):
        stray.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside ``path``, flush it to the disk and rename it into place.

    Raises:
        OSError: the disk is full or not writable; names ``path``. The temporary file is gone, an old file untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk does not say by itself what has no room
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
