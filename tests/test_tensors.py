from __future__ import annotations

import torch
from helpers import same

from omnifm.core.tensors import Tensors, apply, difference


def test_difference_and_apply_undo_each_other() -> None:
    before: Tensors = {"w": torch.tensor([1.0, 2.0]), "batches": torch.tensor(3), "frozen": torch.ones(1)}
    after: Tensors = {"w": torch.tensor([4.0, 0.0]), "batches": torch.tensor(8)}
    change = difference(after, before)
    assert change["w"].tolist() == [3.0, -2.0]
    assert change["batches"].item() == 8
    assert same(apply(before, change), {**after, "frozen": torch.ones(1)})
    assert before["w"].tolist() == [1.0, 2.0]
