"""The mean of any uploads, against a reference of exact fractions."""

from __future__ import annotations

from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.core.records import Upload
from omnifm.core.tensors import Tensors, apply, difference

numbers = st.floats(-1e6, 1e6, width=32)
held = st.dictionaries(st.sampled_from(["w", "head", "norm"]), numbers)
clients = st.lists(st.tuples(st.integers(1, 10**6), held), min_size=1, max_size=6)


def uploads(given: list[tuple[int, dict[str, float]]]) -> list[Upload]:
    made = [{name: torch.tensor([value, -value]) for name, value in change.items()} for _, change in given]
    return [Upload(str(n), given[n][0], 0.0, change, {"x": torch.ones(1)}) for n, change in enumerate(made)]


def mean(given: list[Upload]) -> Tensors:
    return WeightedMean().aggregate(given, lambda upload: float(upload.samples)).change


@given(clients)
def test_it_is_the_exact_mean_over_those_that_hold_a_name(given: list[tuple[int, dict[str, float]]]) -> None:
    found = mean(uploads(given))
    assert found.keys() == {name for _, change in given for name in change}
    for name, value in found.items():
        holding = [(samples, change[name]) for samples, change in given if name in change]
        exact = sum(n * Fraction(x) for n, x in holding) / sum(n for n, _ in holding)
        # Half a unit in the last place of float32, and what float64 sums lose beside the largest term.
        allowed = abs(exact) * 2**-24 + max(abs(x) for _, x in holding) * 2**-48 + 2**-149
        assert abs(Fraction(value[0].item()) - exact) <= allowed
        assert value[1] == -value[0]
        assert value.dtype == torch.float32


@given(clients, st.data())
def test_the_order_of_uploads_does_not_matter(given: list[tuple[int, dict[str, float]]], data: st.DataObject) -> None:
    one, other = mean(uploads(given)), mean(data.draw(st.permutations(uploads(given))))
    assert one.keys() == other.keys()
    for name, value in one.items():
        scale = max(abs(change.get(name, 0.0)) for _, change in given)
        torch.testing.assert_close(value, other[name], rtol=2**-23, atol=scale * 2**-40)


@given(clients, st.data())
def test_a_client_may_be_split_in_two(given: list[tuple[int, dict[str, float]]], data: st.DataObject) -> None:
    """The same change over the same samples counts the same, from one client or from two."""
    whole = uploads(given)
    place = data.draw(st.integers(0, len(whole) - 1))
    samples, change = given[place]
    part = data.draw(st.integers(0, samples))
    parts = uploads([*given[:place], (part, change), (samples - part, change), *given[place + 1 :]])
    one, other = mean(whole), mean([upload for upload in parts if upload.samples])
    for name, value in one.items():
        scale = max(abs(change.get(name, 0.0)) for _, change in given)
        torch.testing.assert_close(value, other[name], rtol=2**-23, atol=scale * 2**-40)


@given(held, held)
def test_a_difference_that_is_applied_leads_back(before: dict[str, float], after: dict[str, float]) -> None:
    """To within half a unit in the last place of the two subtracted numbers."""
    shared = {name: torch.tensor([value]) for name, value in before.items()}
    trained = {name: torch.tensor([value]) for name, value in after.items() if name in before}
    found = apply(shared, difference(trained, shared))
    assert found.keys() == shared.keys()
    for name, value in found.items():
        if name not in trained:
            assert torch.equal(value, shared[name])
        else:
            scale = max(abs(before[name]), abs(after[name]))
            torch.testing.assert_close(value, trained[name], rtol=0, atol=scale * 2**-22 + 2**-148)
