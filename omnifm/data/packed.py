"""Arrays in the narrowest type that holds every value exactly: of images that is mostly uint8, a quarter of float32.

Values in [0, 1] come from integers by a division (``to_unit``), so they can go back to these integers, and the division
be repeated when rows are asked for: the same bits, as :func:`narrowest` looks for itself before anything is packed.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.images import to_unit

UNITS = ("uint8", "uint16")
"""The types of integers that stand for [0, 1], from narrow to wide: what one holds, the next holds too."""
TOUCHED = 256 * 1024**2
"""So many bytes of a file stay in this process's memory after they were read; the system's cache keeps the others."""
_AROUND = 64 * 1024  # what Linux maps around a byte that is looked at


def narrowest(rows: Tensor, least: str = UNITS[0]) -> str:
    """Return the first type from ``least`` on that holds values exactly: of :data:`UNITS`, or else their own."""
    own = str(rows.dtype).removeprefix("torch.")
    if rows.dtype != torch.float32 or least not in UNITS:
        return own
    for kind in UNITS[UNITS.index(least) :]:
        if torch.equal(to_unit(packed(rows, kind)).view(torch.int32), rows.view(torch.int32)):  # -0.0 is not 0.0
            return kind
    return own


def packed(rows: Tensor, kind: str) -> NDArray[Any]:
    """Return values as an array of a type that :func:`narrowest` has named."""
    values: NDArray[Any] = rows.contiguous().numpy()
    if rows.dtype != torch.float32 or kind not in UNITS:
        return values
    highest = np.iinfo(kind).max
    scaled = np.nan_to_num(values * np.float32(highest), nan=0.0, posinf=0.0, neginf=0.0)
    return scaled.round().clip(0, highest).astype(kind)


class MappedFile:
    """A file of plain values, mapped into memory, which all processes share. It is never written to.

    Raises:
        OSError, ValueError: it cannot be mapped, or is shorter than the shape says.
    """

    def __init__(self, path: Path, kind: str, shape: tuple[int, ...]) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        count = int(np.prod(shape, dtype=np.int64))
        self.values: NDArray[Any] = np.frombuffer(self._map, dtype=kind, count=count).reshape(shape)
        self._touched = 0

    def touched(self, rows: NDArray[Any]) -> None:
        """Count rows that were read; from time to time this process lets go of the pages that it has looked at."""
        self._touched += rows.nbytes + _AROUND * len(rows)
        if self._touched > TOUCHED and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


@dataclass(frozen=True, eq=False)
class Packed:
    """A column as packed values ``(rows, ...)``, in memory or in a file; rows come out as a source has made them.

    ``unit``: the values are integers of :data:`UNITS` that stand for float32 in [0, 1].
    """

    values: NDArray[Any]
    unit: bool
    file: MappedFile | None = field(default=None, repr=False)

    @property
    def shape(self) -> torch.Size:
        """The shape of the column."""
        return torch.Size(self.values.shape)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Return the values of some rows: a copy."""
        found = self.values[rows.numpy()]
        if self.file is not None:
            self.file.touched(found)
        return to_unit(found) if self.unit else torch.from_numpy(found)
