"""Records of any content come back from bytes; bytes that are no record are refused, with ValueError only."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from helpers import same
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifm.core.records import Broadcast, ClientState, Record, ServerState, Upload
from omnifm.engines.flower.messages import Reply, Request, WireMessage

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
KINDS: tuple[type[Record], ...] = (ServerState, Broadcast, Upload, ClientState)
names = st.text(min_size=1, max_size=8)
numbers = st.integers(0, 2**31) | st.floats(allow_nan=False) | st.text(max_size=5) | st.none()
notes = st.dictionaries(st.text(max_size=5), numbers | st.lists(numbers, max_size=3), max_size=3)


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    shapes = st.lists(st.integers(0, 4), max_size=3)
    found = draw(st.dictionaries(names, st.tuples(shapes, st.sampled_from(DTYPES)), max_size=3))
    return {name: (10 * torch.rand(shape)).to(dtype) for name, (shape, dtype) in found.items()}


records: st.SearchStrategy[Record] = st.one_of(
    st.builds(ServerState, tensors(), st.integers(0, 10**6), tensors(), notes),
    st.builds(Broadcast, st.integers(0, 10**6), tensors(), tensors(), notes),
    st.builds(Upload, names, st.integers(0, 10**6), st.floats(allow_nan=False), tensors(), tensors(), notes),
    st.builds(ClientState, tensors(), tensors(), notes),
)


def whole(kind: type[Record]) -> bytes:
    """Return the bytes of a record of this kind."""
    made = {"w": torch.arange(3.0)}
    values: dict[Any, Record] = {
        ServerState: ServerState(made, 3, made),
        Broadcast: Broadcast(3, made, made),
        Upload: Upload("CT", 10, 0.5, made, made, {"group": "CT"}),
        ClientState: ClientState(made, made),
    }
    return bytes(values[kind].to_bytes())


def read(kind: type[Record | WireMessage], data: bytes) -> None:
    """Read bytes that may be anything; any error but ValueError is a failure of the test."""
    try:
        found = kind.from_bytes(data)
    except ValueError:
        return
    assert isinstance(found, kind)


@settings(max_examples=50)
@given(records)
def test_there_and_back(record: Record) -> None:
    back = type(record).from_bytes(record.to_bytes())
    assert same(back.pack()[0], record.pack()[0])
    assert all(value.dtype == record.pack()[0][name].dtype for name, value in back.pack()[0].items())
    assert back.pack()[1] == record.pack()[1]


@pytest.mark.parametrize("kind", [*KINDS, Request, Reply])
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda text: len(text).to_bytes(8, "little") + text))
def test_random_bytes_are_refused(kind: type[Record | WireMessage], data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        kind.from_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_changed_bytes_are_read_or_refused(kind: type[Record], data: st.DataObject) -> None:
    changed = bytearray(whole(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    read(kind, bytes(changed))


@pytest.mark.parametrize("kind", [*KINDS, Request, Reply])
@given(st.sampled_from(KINDS), st.data())
def test_another_kind_or_a_part_is_read_or_refused(
    kind: type[Record | WireMessage], other: type[Record], data: st.DataObject
) -> None:
    found = whole(other)
    read(kind, found[: data.draw(st.integers(0, len(found)))])


JSON = st.recursive(numbers | st.booleans(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50)
@given(st.data())
def test_a_header_of_other_json_is_read_or_refused(kind: type[Record], data: st.DataObject) -> None:
    """What is sound JSON but says something else: the texts of the header are replaced by others."""
    header, tensors = from_records(whole(kind))
    key = data.draw(st.sampled_from(sorted(header)))
    if key == "__metadata__":
        header[key] = data.draw(st.just({"plain": json.dumps(data.draw(JSON))}) | JSON)
    else:
        inner = data.draw(st.sampled_from(["dtype", "shape", "data_offsets"]))
        header[key][inner] = data.draw(JSON)
    read(kind, closed(header, tensors))


def from_records(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def closed(header: Any, tensors: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


HUGE = {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "data",
    [
        closed({"__metadata__": {"plain": DEEP}}),
        len(DEEP).to_bytes(8, "little") + DEEP.encode(),
        closed({"__metadata__": {"plain": '{"client": "CT", "samples": 1, "loss": 0}'}, "change/w": HUGE}),
    ],
    ids=["deep JSON", "deep header", "huge strides"],
)
def test_made_to_break_the_reader_it_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Upload.from_bytes(data)
