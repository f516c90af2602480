from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from omnifm.spectral.categorical import Categorical

names = st.lists(st.sampled_from(["a", "b", "c"]), max_size=8)


@given(names, names)
def test_rows_bear_the_names_they_were_given(first: list[str], more: list[str]) -> None:
    labels = Categorical.none().with_more(first).with_more(more)
    assert labels.tolist() == first + more
    assert len(labels) == len(first + more)
    assert labels.names == tuple(dict.fromkeys(first + more))
    for name in "abcd":
        assert labels.rows_of(name).tolist() == [row for row, given in enumerate(first + more) if given == name]


@given(names, st.data())
def test_selected_rows_keep_their_names_and_no_other(made: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(made) - 1), max_size=8)) if made else []
    labels = Categorical.none().with_more(made).select(torch.tensor(rows, dtype=torch.int64))
    assert labels.tolist() == [made[row] for row in rows]
    assert set(labels.names) == set(labels.tolist())
