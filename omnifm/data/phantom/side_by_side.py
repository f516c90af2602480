"""The same work on many things, by several processes, into memory that they share."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from omnifm.workers.pool import WorkerPool

SHARE = 16  # things that a process is asked for at a time


def shared_zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return zeros, at least one, in memory that forked processes share with this one."""
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    return torch.frombuffer(memory, dtype=dtype, count=math.prod(shape)).view(*shape)


def each(work: Callable[[int], None], count: int, processes: int) -> None:
    """Call ``work`` with 0 to ``count - 1``, by so many forked processes; by this one if it is one.

    The results of ``work`` must be in shared memory, and not depend on the process, or on how often it runs.
    """

    def do(share: range) -> None:
        for number in share:
            work(number)

    if processes < 2:
        do(range(count))
        return
    shares = {f"{s} to {s + SHARE - 1}": range(s, min(s + SHARE, count)) for s in range(0, count, SHARE)}
    with WorkerPool(min(processes, len(shares)), do, queue=2) as worker_pool:
        for _ in worker_pool.run(list(shares), shares.__getitem__):
            pass
