from __future__ import annotations

import pytest
import torch

from omnifm.data.columns import Shared, Texts, read_texts, stacked
from omnifm.data.subset import Subset

VALUES = torch.arange(6.0).view(3, 2)
SHARED = Shared(VALUES, torch.tensor([2, 0, 2, 1]))


def test_rows_share_values() -> None:
    assert SHARED.shape == (4, 2)
    assert SHARED.index_select(0, torch.tensor([0, 2, 3])).tolist() == [[4, 5], [4, 5], [2, 3]]


def test_texts_come_back_as_they_were() -> None:
    texts = ["", "is there a lesion?", "größer", "?"]
    column = Texts.of(texts)
    assert column.shape == (4,)
    assert read_texts(column.index_select(0, torch.tensor([3, 2, 1, 0]))) == texts[::-1]
    assert read_texts(Texts.of(["", ""]).index_select(0, torch.tensor([0, 1]))) == ["", ""]


def test_columns_of_a_kind_are_stacked() -> None:
    rows = torch.arange(8)
    assert torch.equal(stacked([VALUES, VALUES]), torch.cat([VALUES, VALUES]))
    both = stacked([SHARED, SHARED])
    assert isinstance(both, Shared)
    assert torch.equal(both.index_select(0, rows), VALUES[torch.tensor([2, 0, 2, 1] * 2)])
    texts = stacked([Texts.of(["a", "longer"]), Texts.of(["even longer"])])
    assert read_texts(texts.index_select(0, rows[:3])) == ["a", "longer", "even longer"]


def test_a_tensor_joins_those_that_share() -> None:
    both = stacked([VALUES, SHARED])
    assert both.index_select(0, torch.arange(7)).tolist() == [*VALUES.tolist(), [4, 5], [0, 1], [4, 5], [2, 3]]
    with pytest.raises(TypeError, match="texts"):
        stacked([SHARED, Texts.of(["a"])])


def test_examples_give_out_all_kinds() -> None:
    texts = Texts.of(["a", "b", "c", "d"])
    examples = Subset({"image": SHARED, "question": texts}, ("p", "q", "r", "s"), torch.tensor([1, 3]))
    batch = examples.batch(torch.tensor([1, 0]))
    assert batch["image"].tolist() == [[2, 3], [0, 1]]
    assert read_texts(batch["question"]) == ["d", "b"]
    assert read_texts(examples.column("question")) == ["b", "d"]
