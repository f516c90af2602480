"""Settings and readings of the operating system's memory, where it offers them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
_NEVER = 2**31 - 1
_LARGE = 2**20


def keep_heap() -> None:
    """Let this process keep the memory that it frees.

    Training frees and asks for the same large blocks at every step. By default glibc returns each to the system and
    gets it back as pages of zeros, which costs about as much as the arithmetic of a small network.
    """
    _choose({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _NEVER})


def return_large_blocks() -> None:
    """Let this process give every large block back as soon as it is freed.

    By default glibc stops doing so once a few have been freed. A process that only adds up what others have trained
    asks for large blocks a few times a round; kept, they would fragment the heap for the whole run.
    """
    _choose({_M_MMAP_THRESHOLD: _LARGE})


def _choose(options: Mapping[int, int]) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library without mallopt
            libc = ctypes.CDLL(None)
            for option, value in options.items():
                libc.mallopt(option, value)


def is_shortage(error: BaseException) -> bool:
    """Return whether an error says that there is no more memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def kills() -> int:
    """Return how many processes this system has killed for lack of memory since it started (0 if unknown)."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
