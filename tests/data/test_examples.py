from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from omnifm.data.examples import Examples, distinct, evenly_spaced


def test_batch_takes_the_rows_of_every_field() -> None:
    examples = Examples({"image": torch.arange(6).view(3, 2), "label": torch.tensor([5, 6, 7])}, ("a", "b", "c"))
    batch = examples.batch(torch.tensor([2, 0]))
    assert len(examples) == 3
    assert batch["image"].tolist() == [[4, 5], [0, 1]]
    assert batch["label"].tolist() == [7, 5]


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
