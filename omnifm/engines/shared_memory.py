"""Memory that an engine and its forked workers share: messages pass through it by one copy in and none out.

It has no name in any file system, so that nothing of it is left when the processes are gone, however they went.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from typing import TypeVar

from omnifm.core.records import Record
from omnifm.core.serialization import TensorBuffer, unpack_tensors

_APART = 2**36  # bytes from one region to the next; pages that are never touched take no memory
_LARGE = 2**23
_RecordClass = TypeVar("_RecordClass", bound=Record)


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
        """Give a region back; the pages of a large one go back to the system."""
        mapped = self._maps.get(region)
        if mapped is not None and len(mapped) > _LARGE and hasattr(mmap, "MADV_REMOVE"):
            mapped.madvise(mmap.MADV_REMOVE)
        self._free.append(region)

    def write(self, region: int, record: Record) -> int:
        """Write a record to a region, over the one before, and return its size in bytes."""
        buffer = TensorBuffer(*record.pack())
        buffer.write_into(memoryview(self._map(region, buffer.size)))
        return buffer.size

    def read(self, region: int, size: int, kind: type[_RecordClass], *, release: bool = False) -> _RecordClass:
        """Return the record of ``size`` bytes in a region; its tensors are views of it.

        With ``release`` the region is given back when the last of these views is gone.
        """
        memory = memoryview(self._map(region, size))[:size]
        if release:
            weakref.finalize(memory, self.release, region)
        return kind.unpack(*unpack_tensors(memory))

    def _map(self, region: int, size: int) -> mmap.mmap:
        mapped = self._maps.get(region)
        if mapped is None or len(mapped) < size:
            whole = -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
            mapped = self._maps[region] = mmap.mmap(self._file, whole, offset=region * _APART)
        return mapped
