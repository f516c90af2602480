"""One process at a time in a folder: two runs that write into one would damage each other."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnifm.utils.errors import ExperimentError, FolderInUseError

if sys.platform != "win32":
    import fcntl

NAME = ".lock"
_log = logging.getLogger("omnifm")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process, and create it if need be.

    The lock is a record lock on the file ``.lock``, which stays: it ends with the process however that ends, and no
    worker forked from it keeps it. Within one process it excludes nothing. Windows has no such lock.

    Raises:
        FolderInUseError: another process holds the folder.
        ExperimentError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / NAME).open("ab", buffering=0)  # closing it gives the lock back
    except OSError as error:
        raise _unwritable(folder, error) from None
    with file:
        try:
            _take(file.fileno(), folder)
            file.truncate(0)
            file.write(json.dumps({"process": os.getpid(), "host": platform.node()}).encode())
        except OSError as error:
            raise _unwritable(folder, error) from None
        yield


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Wait for other processes that use this lock file, and let them wait until the block has ended.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    except FileNotFoundError:  # the first time
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        if sys.platform != "win32":
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Return whether another process holds a folder, as far as it can be read. On Windows: never."""
    try:
        with (folder / NAME).open("rb") as file:
            if sys.platform != "win32":
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    return False


def _take(descriptor: int, folder: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        _try(descriptor)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise FolderInUseError(
                f"{folder} is in use by {_holder(folder)}. Wait until that has ended, end it, or give another folder."
            ) from None
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        _log.warning("The file system of %s has no locks: see that no other run writes into it.", folder)


def _try(descriptor: int) -> None:
    """Take the lock; try again for a moment, as one who asks :func:`is_held` has it for as long."""
    for last in (False, False, True):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if last or error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            time.sleep(0.02)
        else:
            return


def _holder(folder: Path) -> str:
    try:
        noted = json.loads((folder / NAME).read_bytes())
        return f"process {noted['process']} on {noted['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # which has not yet written down who it is


def _unwritable(folder: Path, error: OSError) -> ExperimentError:
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            to = place.readlink()
            return ExperimentError(f"{place} is a link to {to}, which does not exist. Create that, or remove the link.")
    return ExperimentError(f"The folder {folder} cannot be written: {error.strerror}.")
