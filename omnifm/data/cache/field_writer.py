"""Writing the rows of one field to a file as they are made, so that no more than a few are in memory."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.packed import UNITS, MappedFile, Packed, narrowest, packed

BLOCK = 16 * 1024**2
"""Bytes that have a digest of their own: several are verified at a time."""


@dataclass(frozen=True)
class StoredField:
    """What is known of the file of a field: its type and shape, and the SHA-256 of each :data:`BLOCK` of bytes."""

    kind: str
    shape: tuple[int, ...]
    unit: bool
    blocks: tuple[str, ...]

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return np.dtype(self.kind).itemsize * int(np.prod(self.shape, dtype=np.int64))

    def opened(self, path: Path) -> Packed:
        """Return the column in the file; raises OSError or ValueError where it is not there or too short."""
        file = MappedFile(path, self.kind, self.shape)
        return Packed(file.values, self.unit, file)


class FieldWriter:
    """Writes rows to a file in the narrowest type that holds all of them; a wider one replaces what was written."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("wb")
        self._kind, self._type, self._shape = UNITS[0], torch.float32, (0,)
        self._start()

    def __enter__(self) -> FieldWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    @property
    def size(self) -> int:
        """The bytes written so far."""
        return self._file.tell()

    def add(self, rows: Tensor) -> None:
        """Write rows ``(rows, ...)``.

        Raises:
            TypeError: they are of another type or shape than those before.
        """
        count = self._shape[0]
        if count and (rows.dtype != self._type or rows.shape[1:] != self._shape[1:]):
            raise TypeError(f"rows are {rows.dtype} {tuple(rows.shape[1:])}, after {self._type} {self._shape[1:]}")
        kind = narrowest(rows, self._kind)
        if count and kind != self._kind:
            self._widen(kind)
        self._kind, self._type, self._shape = kind, rows.dtype, (count + len(rows), *rows.shape[1:])
        self._write(packed(rows, kind))

    def finished(self) -> StoredField:
        """Return what the file holds."""
        self._file.flush()
        blocks = (*self._blocks, *([self._block.hexdigest()] if self._filled else []))
        return StoredField(self._kind, self._shape, self._type == torch.float32 and self._kind in UNITS, blocks)

    def _start(self) -> None:
        self._blocks: list[str] = []
        self._block, self._filled = hashlib.sha256(), 0

    def _write(self, values: NDArray[Any]) -> None:
        left = memoryview(values.tobytes())
        while left:
            part = left[: BLOCK - self._filled]
            self._file.write(part)
            self._block.update(part)
            self._filled += len(part)
            if self._filled == BLOCK:
                self._blocks.append(self._block.hexdigest())
                self._block, self._filled = hashlib.sha256(), 0
            left = left[len(part) :]

    def _widen(self, kind: str) -> None:
        """Write what was written anew, in a wider type."""
        narrow = self.finished().opened(self._path)
        self._file.close()
        self._path.unlink()  # the mapped file stays for as long as it is read
        self._file = self._path.open("wb")
        self._start()
        step = max(1, BLOCK * len(narrow.values) // max(1, narrow.values.nbytes))
        for rows in torch.split(torch.arange(len(narrow.values)), step):
            self._write(packed(narrow.index_select(0, rows), kind))


def is_intact(path: Path, stored: StoredField) -> bool:
    """Return whether a file holds the bytes that were written to it: its blocks are digested by several threads."""

    def intact(number: int) -> bool:
        with path.open("rb") as file:  # read, not mapped, so that no page of it counts as this process's memory
            file.seek(number * BLOCK)
            return hashlib.sha256(file.read(BLOCK)).hexdigest() == stored.blocks[number]

    if path.stat().st_size != stored.size:
        return False
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        return all(threads.map(intact, range(len(stored.blocks))))
