"""Random changes to a reply's bytes: to the bytes themselves, to its JSON, and to its tensors.

They aim where a reader could be weak: lengths, types, nesting, names, and numbers at the edge of what a type can hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor

from omnifm.core.serialization import TensorBuffer, aligned, unpack_tensors
from omnifm.core.tensors import Tensors

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31 - 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e30, 3.4e38, 1e308),
    *(math.nan, math.inf, -math.inf, "", "x", "../../etc/passwd", "\x1b[2J", "\ud800", "x" * 10_000),
    *([], {}, [[]], [1, [2]], [None], {"a": {"b": {}}}, ["x"] * 5_000, [0] * 5_000),
)
"""Values that are put in place of others."""


def mutate(reply: bytes, draw: Random) -> bytes:
    """Return a reply with one to three changes of one kind."""
    kind = draw.choice((_change_bytes, _change_json, _change_json, _change_tensors, _change_tensors))
    for _ in range(draw.choice((1, 1, 2, 3))):
        try:
            reply = kind(reply, draw)
        except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError):
            reply = _change_bytes(reply, draw)  # no longer a reply whose parts can be changed
    return reply


def _change_bytes(reply: bytes, draw: Random) -> bytes:
    data = bytearray(reply)
    place = draw.randrange(len(data)) if data else 0
    near = draw.randrange(min(len(data), 512)) if data else 0  # the header is where most can go wrong
    what = draw.randrange(6)
    if what == 0:
        return bytes(data[:place])
    if what == 1:
        return bytes(data[:near] + draw.randbytes(draw.randrange(1, 64)) + data[near:])
    if what == 2:
        return bytes(data[:near] + data[near + draw.randrange(1, 64) :])
    if what == 3:
        return draw.choice((0, 2**31, 2**63, 2**64 - 1, len(data))).to_bytes(8, "little") + bytes(data[8:])
    if what == 4:
        text = draw.choice(("[", "{", '{"a":', "[{")) * draw.choice((10, 1_000, 100_000))
        return len(text).to_bytes(8, "little") + text.encode()
    for _ in range(draw.choice((1, 4, 64))):
        if data:
            data[draw.choice((near, draw.randrange(len(data))))] = draw.randrange(256)
    return bytes(data)


def _change_json(reply: bytes, draw: Random) -> bytes:
    """Replace, add or drop a value somewhere in the reply's or its upload's JSON."""
    message, upload = _parts(reply)
    if upload is not None and draw.random() < 0.5:
        tensors, plain = unpack_tensors(aligned(upload))
        changed = bytes(TensorBuffer(tensors, _odd(plain, draw)).to_bytes())
        return _joined(message, changed)
    if draw.random() < 0.2:  # in the header of the format itself
        size = int.from_bytes(reply[:8], "little")
        text = json.dumps(_odd(json.loads(reply[8 : 8 + size]), draw)).encode()
        return len(text).to_bytes(8, "little") + text + reply[8 + size :]
    return _joined(_odd(message, draw), upload)


def _change_tensors(reply: bytes, draw: Random) -> bytes:
    message, upload = _parts(reply)
    if upload is None:
        return _change_json(reply, draw)
    tensors, plain = unpack_tensors(aligned(upload))
    names = [name for name in tensors if draw.random() < draw.choice((0.1, 1.0))] or [draw.choice(list(tensors))]
    change = draw.choice(_TENSOR_CHANGES)
    return _joined(message, bytes(TensorBuffer(change(tensors, names, draw), plain).to_bytes()))


def _values(edit: Callable[[Tensor, Random], Tensor]) -> Callable[[Tensors, list[str], Random], Tensors]:
    def change(tensors: Tensors, names: list[str], draw: Random) -> Tensors:
        return {name: edit(value, draw) if name in names else value for name, value in tensors.items()}

    return change


def _fill(value: Tensor, draw: Random) -> Tensor:
    if value.is_floating_point():
        return torch.full_like(value, draw.choice((math.nan, math.inf, 0.0, 1e-30, 1.0, 1e4, 1e30, 3.4e38)))
    return torch.full_like(value, draw.choice((0, 1, -1, 5, 2**31 - 1)))


def _scale(value: Tensor, draw: Random) -> Tensor:
    return value * draw.choice((-1, -30, 0, 3, 10, 100, 10_000)) if value.dtype != torch.bool else ~value


def _reshape(value: Tensor, draw: Random) -> Tensor:
    turned = value.T if value.dim() == 2 else value
    return draw.choice((value.flatten(), value[None], value[:0] if value.dim() else value, turned)).contiguous()


def _retype(value: Tensor, draw: Random) -> Tensor:
    types = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool)
    return value.nan_to_num().to(draw.choice(types))


def _repeat(value: Tensor, draw: Random) -> Tensor:
    return value.repeat(draw.choice((2, 50)), *[1] * (value.dim() - 1)) if value.dim() else value


def _spoil(value: Tensor, draw: Random) -> Tensor:
    changed = value.clone().flatten()
    if len(changed):
        changed[draw.randrange(len(changed))] = draw.choice((-1, 0, 1, 2**31 - 1))
    return changed.view(value.shape)


def _rename(tensors: Tensors, names: list[str], draw: Random) -> Tensors:
    other = draw.choice((*tensors, "more", "change/more", "extra/bank/more", "../x"))
    return {other if name == names[0] else name: value for name, value in tensors.items()}


def _drop(tensors: Tensors, names: list[str], draw: Random) -> Tensors:
    return {name: value for name, value in tensors.items() if name not in names}


_TENSOR_CHANGES = (*map(_values, (_fill, _scale, _reshape, _retype, _repeat, _spoil)), _rename, _drop)


def _parts(reply: bytes) -> tuple[dict[str, Any], bytes | None]:
    """Return the JSON of a reply and the bytes of its upload, if it has one."""
    memory = aligned(reply)
    plain = unpack_tensors(memory)[1]
    size = plain.get("upload")
    return plain, bytes(memory[len(memory) - size :]) if size else None


def _joined(plain: dict[str, Any], upload: bytes | None) -> bytes:
    if upload is None:
        return bytes(TensorBuffer({}, plain).to_bytes())
    return bytes(TensorBuffer({}, {**plain, "upload": len(upload)}).to_bytes()) + upload


def _odd(value: Any, draw: Random) -> Any:
    """Return JSON of which one value somewhere is another."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        what = draw.randrange(8)
        if what == 0:
            return {name: part for name, part in value.items() if name != key}
        if what == 1:
            return {**value, draw.choice(("event", "client", "x", "", "x" * 5_000)): draw.choice(ODD)}
        return {**value, key: _odd(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        return [*value[:place], _odd(value[place], draw), *value[place + draw.randrange(2) :]]
    return draw.choice(ODD)
