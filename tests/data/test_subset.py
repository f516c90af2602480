from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnifm.data.subset import Batch, Subset, distinct, evenly_spaced

TABLE = {"image": torch.arange(8).view(4, 2), "label": torch.tensor([5, 6, 7, 8])}
PATIENTS = ("a", "b", "c", "d")


def test_without_rows_all_of_the_pool() -> None:
    examples = Subset(TABLE, PATIENTS)
    assert len(examples) == 4
    assert examples.patients == PATIENTS
    assert torch.equal(examples.column("image"), TABLE["image"])


def test_a_split_is_rows_of_the_pool() -> None:
    examples = Subset(TABLE, PATIENTS, torch.tensor([3, 1, 0]))
    assert len(examples) == 3
    assert examples.patients == ("d", "b", "a")
    assert examples.column("label").tolist() == [8, 6, 5]
    assert {field: values.tolist() for field, values in examples.whole().items()} == {
        "image": [[6, 7], [2, 3], [0, 1]],
        "label": [8, 6, 5],
    }


def test_batch_takes_the_places_of_every_field() -> None:
    batch = Subset(TABLE, PATIENTS, torch.tensor([3, 1, 0])).batch(torch.tensor([2, 0]))
    assert batch["image"].tolist() == [[0, 1], [6, 7]]
    assert batch["label"].tolist() == [5, 8]


def test_what_is_taken_out_may_be_changed() -> None:
    examples = Subset(TABLE, PATIENTS)
    examples.column("label").zero_()
    examples.whole()["label"].zero_()
    examples.batch(torch.arange(4))["label"].zero_()
    assert examples.column("label").tolist() == [5, 6, 7, 8]


def test_a_constant_is_the_same_for_every_example() -> None:
    examples = Subset(TABLE, PATIENTS, torch.tensor([3, 1]))
    weighted = examples.with_constant("weight", torch.tensor([0.5, 2.0]))
    assert weighted.column("weight").tolist() == [[0.5, 2.0], [0.5, 2.0]]
    assert weighted.batch(torch.tensor([1]))["weight"].tolist() == [[0.5, 2.0]]
    assert weighted.column("label").tolist() == [8, 6]
    assert examples.whole().keys() == {"image", "label"}


@pytest.mark.parametrize(
    "table", [TABLE, {field: values.clone() for field, values in TABLE.items()}], ids=["one", "two"]
)
def test_joined_examples_keep_their_order(table: Batch) -> None:
    one, other = Subset(TABLE, PATIENTS, torch.tensor([2, 0])), Subset(table, PATIENTS, torch.tensor([3]))
    joined = Subset.joined([one, other])
    assert joined.patients == ("c", "a", "d")
    assert joined.column("label").tolist() == [7, 5, 8]
    assert (joined._table is TABLE) == (table is TABLE)


def test_distinct_keeps_the_order_of_first_appearance() -> None:
    assert distinct(["b", "a", "b", "c", "a"]) == ("b", "a", "c")


def test_evenly_spaced() -> None:
    assert evenly_spaced(10, 2) == [2, 7]
    assert evenly_spaced(3, 0) == [0, 1, 2]
    assert evenly_spaced(3, 9) == [0, 1, 2]


@given(st.integers(0, 300), st.integers(0, 300))
def test_evenly_spaced_has_no_repeats_and_even_gaps(count: int, limit: int) -> None:
    chosen = evenly_spaced(count, limit)
    assert len(chosen) == (min(count, limit) if limit else count)
    assert all(0 <= index < count for index in chosen)
    gaps = {after - before for before, after in pairwise(chosen)}
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)


def test_patients_have_numbers() -> None:
    table = {"image": torch.zeros(4, 1, 2, 2)}
    assert Subset(table, ("b", "a", "b", "c"), torch.tensor([3, 0, 2])).patient_numbers.tolist() == [0, 1, 1]
    assert Subset(table, ("b", "a", "b", "c"), torch.tensor([], dtype=torch.int64)).patient_numbers.tolist() == []
