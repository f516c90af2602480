"""Named tensors and JSON in one stretch of bytes, in the safetensors format, for files, messages and shared memory.

Written straight into the memory it is meant for, and read as views of it: for the few kilobytes to megabytes that a
client has, the copies and checks of the safetensors package cost more than the training of a small batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnifm.core.tensors import Tensors

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_TYPES = {name: dtype for dtype, name in _NAMES.items()}
_META, _TEXT, _PADDING = "__metadata__", "plain", "__padding__"
MOST_HEADER, MOST_AXES = 64 * 2**20, 8
"""What is longer, in bytes, is no header that we wrote, and a tensor of more axes none of ours."""
ALIGNMENT = 64
"""Every tensor begins at a multiple of so many bytes, and a whole buffer takes a multiple of them."""


class TensorBuffer:
    """Tensors and JSON, ready to be laid down in ``size`` bytes.

    Every tensor begins at a multiple of 64 bytes, as torch's own do: products of matrices may differ in their last bits
    with the place of the operands. The format allows no holes, so that padding is a tensor too.
    """

    def __init__(self, tensors: Mapping[str, Tensor], plain: Any) -> None:
        self._places: list[tuple[int, Tensor]] = []
        header: dict[str, Any] = {_META: {_TEXT: json.dumps(plain)}}
        end = 0
        for name, value in sorted(tensors.items()):  # the same bytes, in whatever order they were made
            start, end = end, end + value.nbytes
            header[name] = _about(_NAMES[value.dtype], value.shape, start, end)
            self._places.append((start, value))
            if gap := -end % ALIGNMENT:
                header[f"{_PADDING}{end}"] = _about("U8", (gap,), end, end + gap)
                end += gap
        text = json.dumps(header).encode()
        self._header = text + b" " * (-(8 + len(text)) % ALIGNMENT)
        self.size = 8 + len(self._header) + end

    def write_into(self, memory: memoryview) -> None:
        """Write it to the beginning of the memory."""
        base = 8 + len(self._header)
        memory[:8] = len(self._header).to_bytes(8, "little")
        memory[8:base] = self._header
        for start, value in self._places:
            if value.numel():
                target = torch.frombuffer(memory, dtype=value.dtype, count=value.numel(), offset=base + start)
                target.view(value.shape).copy_(value)

    def to_bytes(self) -> bytearray:
        """Return it as bytes."""
        data = bytearray(self.size)
        self.write_into(memoryview(data))
        return data


def unpack_tensors(memory: memoryview) -> tuple[Tensors, Any]:
    """Return the tensors, as views of the memory, and the JSON.

    Raises:
        ValueError: it is no such buffer, or truncated.
    """
    try:
        length = int.from_bytes(memory[:8], "little")
        if length > min(MOST_HEADER, len(memory)):
            raise ValueError(f"not tensors in the safetensors format: a header of {length} bytes")
        header = json.loads(bytes(memory[8 : 8 + length]))
        plain = json.loads(header.pop(_META)[_TEXT])
        tensors = {name: _tensor(memory, 8 + length, **about) for name, about in header.items()}
        return {name: value for name, value in tensors.items() if not name.startswith(_PADDING)}, plain
    except RecursionError:
        raise ValueError("not tensors in the safetensors format: nested too deeply") from None
    except (KeyError, TypeError, AttributeError, RuntimeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"not tensors in the safetensors format: {error!r:.200}") from None


def aligned(data: bytes | bytearray) -> memoryview:
    """Return the data at a place in memory where torch would lay them."""
    memory = memoryview(torch.empty(len(data), dtype=torch.uint8).numpy())  # type: ignore[arg-type]
    memory[:] = data
    return memory


def read_aligned(path: Path) -> memoryview:
    """Return what is in a file, read straight to where :func:`aligned` would lay it.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        memory = memoryview(torch.empty(os.fstat(file.fileno()).st_size, dtype=torch.uint8).numpy())  # type: ignore[arg-type]
        return memory[: file.readinto(memory)]


def _about(dtype: str, shape: Sequence[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def _tensor(memory: memoryview, base: int, dtype: str, shape: list[int], data_offsets: tuple[int, int]) -> Tensor:
    kind, (start, end) = _TYPES[dtype], data_offsets
    if len(shape) > MOST_AXES:
        raise ValueError(f"a tensor of {len(shape)} axes")
    count, room = prod(shape), len(memory) - base
    fits = 0 <= start <= end <= room and end - start == count * kind.itemsize and min(shape, default=0) >= 0
    if not fits or max(shape, default=0) > 2**31:
        raise ValueError(f"a tensor of {dtype} {shape} does not lie in bytes {start} to {end} of {room}")
    if count == 0:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(memory, dtype=kind, count=count, offset=base + start).view(shape)
