"""One process at a time in a folder: two runs that write into one would spoil each other."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnifm.utils.errors import ExperimentError

if sys.platform != "win32":
    import fcntl

NAME = ".lock"
_log = logging.getLogger("omnifm")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process, making it if need be; one that stays empty is removed again.

    The lock is a record lock on ``.lock``: it ends with the process however that ends, and no worker forked from it
    keeps it. Within one process it excludes nothing. Windows has no such lock: there it is left to the user.

    Raises:
        ExperimentError: another process holds the folder, or it cannot be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with _held(folder):
            yield
    finally:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


def is_held(folder: Path) -> bool:
    """Tell whether another process holds a folder; whoever may read there can ask."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        if sys.platform == "win32":
            return True
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    path = folder / NAME
    try:
        descriptor = _open(path)
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, json.dumps({"process": os.getpid(), "host": platform.node()}).encode())
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise ExperimentError(f"The folder {folder} cannot be written: {error.strerror}.") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is still held: whoever waits for this file finds it gone
        os.close(descriptor)


def _open(path: Path) -> int:
    """Return the descriptor of the lock, held."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except (FileNotFoundError, FileExistsError):
            if any(part.exists() and not part.is_dir() for part in path.parents):
                raise
            continue  # another has just removed the folder that it had made
        try:
            _take(descriptor, path)
            if _is_still(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise ExperimentError(
                f"{path.parent} is in use by {_holder(descriptor)}. Wait until that has ended, end it, or give another "
                f"folder."
            ) from None
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        _log.warning("The file system of %s has no locks: see that no other run writes into it.", path.parent)


def _is_still(descriptor: int, path: Path) -> bool:
    """Tell whether the file of this name is the one that is open, and not one that its holder has just removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    try:
        noted = json.loads(os.read(descriptor, 1000))
        return f"process {noted['process']} on {noted['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # which has not yet written down who it is
