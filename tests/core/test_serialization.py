from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from helpers import same
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from omnifm.core.serialization import TensorBuffer, aligned, unpack_tensors

TENSORS = {
    "flags": torch.tensor([True, False]),
    "a.weight": torch.arange(6.0).view(2, 3),
    "odd": torch.arange(7, dtype=torch.uint8),
    "scalar": torch.tensor(3),
    "empty": torch.zeros(0, 4),
    "half": torch.full((3,), 0.1, dtype=torch.bfloat16),
    "double": torch.full((1,), 0.1, dtype=torch.float64),
    "strided": torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last),
    "Žilina": torch.tensor([-1, 5], dtype=torch.int32),
}
PLAIN = {"round": 3, "names": ["Žilina", None], "loss": 0.1}


def data() -> bytearray:
    return TensorBuffer(TENSORS, PLAIN).to_bytes()


def header(raw: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def with_header(about: Any, body: bytes) -> bytearray:
    text = json.dumps(about).encode()
    return bytearray(len(text).to_bytes(8, "little") + text + body)


def test_round_trip() -> None:
    tensors, plain = unpack_tensors(memoryview(data()))
    assert plain == PLAIN
    assert same(tensors, dict(TENSORS))
    assert all(tensors[name].dtype == value.dtype for name, value in TENSORS.items())


def test_the_format_is_that_of_safetensors() -> None:
    found = load(bytes(data()))
    assert same({name: value for name, value in found.items() if "padding" not in name}, TENSORS)
    whole = {name: value.contiguous() for name, value in TENSORS.items()}
    tensors, plain = unpack_tensors(memoryview(bytearray(save(whole, {"plain": json.dumps(PLAIN)}))))
    assert plain == PLAIN
    assert same(tensors, TENSORS)


def test_every_tensor_is_where_torch_would_put_it() -> None:
    for tensors in (unpack_tensors(aligned(data()))[0], unpack_tensors(aligned(bytes(data())))[0]):
        assert [name for name, value in tensors.items() if value.data_ptr() % 64 and value.numel()] == []


def test_tensors_are_views() -> None:
    memory = data()
    one, other = unpack_tensors(memoryview(memory))[0], unpack_tensors(memoryview(memory))[0]
    one["a.weight"][1, 2] = 7
    assert other["a.weight"][1, 2] == 7


def test_it_is_laid_into_a_larger_memory() -> None:
    memory = bytearray(b"\xff" * 10_000)
    buffer = TensorBuffer(TENSORS, PLAIN)
    buffer.write_into(memoryview(memory))
    assert bytes(memory[buffer.size :]) == b"\xff" * (10_000 - buffer.size)
    assert same(unpack_tensors(memoryview(memory)[: buffer.size])[0], TENSORS)


def test_the_same_tensors_give_the_same_bytes() -> None:
    assert data() == data() == TensorBuffer(dict(reversed(TENSORS.items())), PLAIN).to_bytes()
    assert TensorBuffer({}, 1).to_bytes() != TensorBuffer({}, 2).to_bytes()


@given(st.integers(min_value=0, max_value=len(data()) - 1))
def test_what_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"safetensors format|does not lie"):
        unpack_tensors(memoryview(data()[:length]))


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "F99"},
        {"shape": [1000, 3]},
        {"shape": [-2, -3]},
        {"shape": "23"},
        {"data_offsets": [0, 8]},
        {"data_offsets": [-24, 0]},
        {"data_offsets": [10**9, 10**9 + 24]},
        {"data_offsets": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_header_with_wrong_numbers_is_refused(change: dict[str, Any]) -> None:
    about, body = header(bytes(data()))
    about["a.weight"] |= change
    with pytest.raises(ValueError, match=r"safetensors format|does not lie"):
        unpack_tensors(memoryview(with_header(about, body)))


@pytest.mark.parametrize("raw", [b"", b"\x00" * 8, b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}"])
def test_rubbish_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="safetensors format"):
        unpack_tensors(memoryview(bytearray(raw)))
