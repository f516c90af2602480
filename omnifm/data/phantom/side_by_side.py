"""The same work on many things, by as many processes as there are cores, into memory that they share."""

from __future__ import annotations

import math
import mmap
import signal
from collections.abc import Callable, Sequence
from multiprocessing import get_context

import torch
from torch import Tensor


def shared_zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return zeros, at least one, in memory that forked processes share with this one."""
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    return torch.frombuffer(memory, dtype=dtype, count=math.prod(shape)).view(*shape)


def each(work: Callable[[int], None], count: int, processes: int) -> None:
    """Call ``work`` with 0 to ``count - 1``, by so many forked processes; by this one if it is one.

    What ``work`` leaves behind must lie in memory that is shared, and must not depend on who did it. The share of a
    process that died or failed is done again here, so that an error comes up as if there were one process.
    """
    if processes < 2:
        _do(work, range(count))
        return
    shares = [range(start, count, processes) for start in range(min(processes, count))]
    children = [get_context("fork").Process(target=_child, args=(work, share), daemon=True) for share in shares]
    try:
        for child in children:
            child.start()
        for child, share in zip(children, shares, strict=True):
            child.join()
            if child.exitcode != 0:
                _do(work, share)
    finally:
        for child in children:
            if child.is_alive():
                child.kill()


def _do(work: Callable[[int], None], share: range) -> None:
    for number in share:
        work(number)


def _child(work: Callable[[int], None], share: range) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    try:
        _do(work, share)
    except Exception:  # the parent does this share again, and tells of the error
        raise SystemExit(1) from None
