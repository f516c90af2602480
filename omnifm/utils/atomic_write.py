"""Writing files so that a crash leaves either the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def remove_strays(folder: Path) -> None:
    """Remove what a kill in the midst of :func:`write_atomically` left behind, here and below."""
    for stray in folder.rglob(".*.tmp"):
        stray.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` as :func:`replacing` has it."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def append_flushed(path: Path, data: bytes) -> None:
    """Add ``data`` to the end of a file, and wait until it is on the disk: half the waiting of a file that is replaced.

    A power cut can leave a part of it.

    Raises:
        OSError: the disk is full or not writable.
    """
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_privately(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` as :func:`replacing` has it, so that only the owner may ever read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)


@contextlib.contextmanager
def replacing(path: Path, *, flushed: bool = True) -> Iterator[Path]:
    """Context manager that yields a temporary file next to ``path``, then flushes it to disk and renames it into place.

    A file that is not ``flushed`` can be damaged by a power cut, but not by a crash of this process.

    Raises:
        OSError: the disk is full or not writable; names ``path``. The temporary file is gone, an old file untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if flushed:
            flush(temporary)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk does not say by itself what has no room
        raise
    if flushed:
        flush(path.parent)


def flush(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
