from __future__ import annotations

import hashlib

import torch
from helpers import same

from omnifm.core.tensors import Tensors, apply, difference, digest


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
