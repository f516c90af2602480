"""Memory that an engine and its forked workers share: messages pass through it by one copy in and none out.

It has no name in any file system, so that nothing of it is left when the processes are gone, however they went.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
import weakref
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor

from omnifm.algorithms.state import Record
from omnifm.tensors import Tensors

_APART = 2**36  # bytes from one region to the next; pages that are never touched take no memory
_ALIGNMENT = 64
Kind = TypeVar("Kind", bound=Record)


class SharedMemory:
    """Regions that grow as they are written to. Make it before the workers, so that they inherit it."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file = os.memfd_create("omnifm")
        else:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
        self._maps: dict[int, mmap.mmap] = {}
        self._regions = 0
        self._free: list[int] = []

    def close(self) -> None:
        """Let it go; what was read from it stays valid."""
        os.close(self._file)
        self._maps.clear()

    def claim(self) -> int:
        """Return a region that nobody uses."""
        if not self._free:
            self._free.append(self._regions)
            self._regions += 1
            os.ftruncate(self._file, self._regions * _APART)
        return self._free.pop()

    def release(self, region: int) -> None:
        """Give a region back."""
        self._free.append(region)

    def write(self, region: int, record: Record) -> int:
        """Lay a record down and return how many bytes it takes: the header's length, the header as JSON, the tensors.

        It is over the record that was there before.
        """
        tensors, plain = record.pack()
        places, end = {}, 0
        for name, value in tensors.items():
            places[name] = (str(value.dtype).removeprefix("torch."), list(value.shape), end)
            end += -(-value.nbytes // _ALIGNMENT) * _ALIGNMENT
        header = json.dumps([places, plain]).encode()
        start = _start(len(header))
        memory = memoryview(self._map(region, start + end))
        memory[:8] = len(header).to_bytes(8, "little")
        memory[8 : 8 + len(header)] = header
        for name, target in _tensors(memory, places, start).items():
            target.copy_(tensors[name])
        return start + end

    def read(self, region: int, size: int, kind: type[Kind], *, release: bool = False) -> Kind:
        """Return the record of ``size`` bytes in a region; its tensors are views of it.

        With ``release`` the region is given back when the last of these views is gone.
        """
        memory = memoryview(self._map(region, size))
        if release:
            weakref.finalize(memory, self.release, region)
        length = int.from_bytes(memory[:8], "little")
        places, plain = json.loads(bytes(memory[8 : 8 + length]))
        return kind.unpack(_tensors(memory, places, _start(length)), plain)

    def _map(self, region: int, size: int) -> mmap.mmap:
        mapped = self._maps.get(region)
        if mapped is None or len(mapped) < size:
            whole = -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
            mapped = self._maps[region] = mmap.mmap(self._file, whole, offset=region * _APART)
        return mapped


def _start(header: int) -> int:
    """Return where the tensors begin."""
    return -(-(8 + header) // _ALIGNMENT) * _ALIGNMENT


def _tensors(memory: memoryview, places: dict[str, Any], start: int) -> Tensors:
    return {
        name: _tensor(memory, getattr(torch, dtype), shape, start + at) for name, (dtype, shape, at) in places.items()
    }


def _tensor(memory: memoryview, dtype: torch.dtype, shape: list[int], at: int) -> Tensor:
    count = prod(shape)
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(memory, dtype=dtype, count=count, offset=at).view(shape)
