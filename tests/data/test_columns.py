from __future__ import annotations

import pytest
import torch

from omnifm.data.columns import Joined, Shared, Texts, Widened, as_tensor, read_texts, row_chunks, stacked
from omnifm.data.packed import Packed, packed
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


def in_file(values: torch.Tensor) -> Packed:
    return Packed(packed(values, str(values.dtype).removeprefix("torch.")), unit=False)


def test_columns_in_files_are_stacked_without_a_copy() -> None:
    parts = [VALUES, VALUES + 10, VALUES + 20]
    joined = stacked([stacked([in_file(parts[0]), parts[1]]), in_file(parts[2])])
    assert isinstance(joined, Joined)
    assert len(joined.parts) == 3
    assert joined.shape == (9, 2)
    for rows in (torch.arange(9), torch.tensor([8, 0, 4, 4, 3]), torch.tensor([5]), torch.tensor([7, 6])):
        assert torch.equal(joined.index_select(0, rows), torch.cat(parts)[rows])


def test_shared_values_may_be_in_files() -> None:
    both = stacked([Shared(in_file(VALUES), SHARED.index), VALUES])
    assert torch.equal(as_tensor(both), torch.cat([as_tensor(SHARED), VALUES]))


def test_regions_stand_among_others() -> None:
    regions = torch.tensor([[[1, 1]], [[0, 1]]], dtype=torch.uint8)  # two rows of one region of two pixels
    wide = Widened(in_file(regions), torch.tensor([1]), 3)
    assert wide.shape == (2, 3, 2)
    expected = torch.zeros(2, 3, 2, dtype=torch.uint8)
    expected[:, 1] = regions[:, 0]
    assert torch.equal(torch.cat(list(row_chunks(wide, 1))), expected)
    assert torch.equal(as_tensor(stacked([wide, wide])), torch.cat([expected, expected]))
