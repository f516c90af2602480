from __future__ import annotations

import hashlib

import pytest
import torch
from helpers import same

from omnifm.core.tensors import Tensors, apply, difference, digest, raw, total_norm


def test_difference_and_apply_undo_each_other() -> None:
    before: Tensors = {"w": torch.tensor([1.0, 2.0]), "batches": torch.tensor(3), "frozen": torch.ones(1)}
    after: Tensors = {"w": torch.tensor([4.0, 0.0]), "batches": torch.tensor(8)}
    change = difference(after, before)
    assert change["w"].tolist() == [3.0, -2.0]
    assert change["batches"].item() == 8
    assert same(apply(before, change), {**after, "frozen": torch.ones(1)})
    assert before["w"].tolist() == [1.0, 2.0]


def test_digest_by_hand() -> None:
    expected = hashlib.sha256(b"text" + b"w|torch.float32|(1,)|" + b"\x00\x00\x80\x3f").hexdigest()
    assert digest({"w": torch.ones(1)}, "text") == expected


def test_digest_sees_names_types_shapes_values_and_text() -> None:
    one = torch.tensor([1, 0], dtype=torch.int32)
    digests = [
        digest({"a": one}),
        digest({"b": one}),
        digest({"a": one.view(torch.float32)}),
        digest({"a": one[None]}),
        digest({"a": one + 1}),
        digest({"a": one}, "text"),
    ]
    assert len(set(digests)) == len(digests)
    assert digest({"a": one, "b": one + 1}) == digest({"b": one + 1, "a": one})


def test_a_type_that_numpy_lacks_has_a_digest() -> None:
    one = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    assert digest({"a": one}) != digest({"a": one + 1})


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_numbers_are_hashed_as_they_lie_in_a_row(kind: torch.dtype) -> None:
    numbers = torch.arange(24).reshape(2, 3, 4).to(kind)
    for value in (numbers, numbers.transpose(0, 2), numbers[1, 2, 3], numbers[:0], numbers[:, ::2]):
        whole = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        assert raw(value).tobytes() == whole


def test_norms_are_of_all_floating_point_tensors() -> None:
    tensors = {"a": torch.tensor([[3.0]]), "n": torch.tensor(100), "b": torch.tensor(4.0), "none": torch.zeros(0, 2)}
    assert total_norm(tensors) == 5.0
    assert total_norm({"n": torch.tensor(100)}) == 0.0
    assert total_norm({"a": torch.full((2,), 3e38)}) == torch.inf
    assert total_norm({"a": torch.tensor(torch.nan)}) != total_norm({"a": torch.tensor(torch.nan)})
