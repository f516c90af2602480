from __future__ import annotations

from statistics import fmean

import pytest

from omnifm.algorithms.circle_trust import MeanAffinity, Trust

ALIKE = 1 / 3


def after(comparisons: int, **shares: float) -> Trust:
    trust = Trust()
    for _ in range(comparisons):
        trust = trust.with_reports(shares)
    return trust


def pairs(**near: float) -> MeanAffinity:
    """Return each client's mean over the affinities of pairs, such as ``ab = 0.8``."""
    names = {name for pair in near for name in pair}
    return lambda: {name: fmean(value for pair, value in near.items() if name in pair) for name in names}


def test_older_reports_fade() -> None:
    trust = after(1, a=1.0).with_reports({"a": 0.0})
    assert trust.accepted == {"a": (0.77, 1.77)}


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.5), (0.5, 0.5), (0.5, 0.35)])
def test_a_circle_of_use_stays(a: float, b: float) -> None:
    trust = after(2, a=a, b=b)
    assert trust.judged(["a", "b"], pairs(ab=0.8), ALIKE) is trust


def test_a_useless_circle_is_held_together_no_more() -> None:
    trust = after(2, a=0.6, b=0.0).judged(["a", "b"], pairs(ab=0.8), ALIKE)
    assert trust.sharp.keys() == {"a", "b"}
    assert 0.8 ** trust.sharp["a"] == pytest.approx(ALIKE**1.5)
    assert trust.accepted == {}


def test_those_who_are_much_more_alike_may_stay_together() -> None:
    near = pairs(ab=0.95, ac=0.7, ad=0.7, bc=0.7, bd=0.7, cd=0.95)
    trust = after(2, a=0.2, b=0.4, c=0.4, d=0.2).judged(list("abcd"), near, ALIKE)
    assert 0.95 ** trust.sharp["a"] > ALIKE > 0.7 ** trust.sharp["a"]


def test_one_that_takes_nothing_for_three_comparisons_leaves_alone() -> None:
    near, shares = pairs(ab=0.8, ac=0.6, bc=0.6), {"a": 1.0, "b": 1.0, "c": 0.0}
    two = after(2, **shares)
    assert two.judged(["a", "b", "c"], near, ALIKE) is two
    trust = after(3, **shares).judged(["a", "b", "c"], near, ALIKE)
    assert trust.sharp.keys() == {"c"}
    assert trust.accepted.keys() == {"a", "b"}


def test_one_that_says_it_takes_nothing_divides_no_circle_of_others() -> None:
    near, shares = pairs(ab=0.8, ac=0.8, bc=0.8), {"a": 0.5, "b": 0.5, "c": 0.0}
    for comparisons, leaving in ((2, set()), (3, {"c"})):
        assert after(comparisons, **shares).judged(["a", "b", "c"], near, ALIKE).sharp.keys() == leaving
    useless = after(2, a=0.5, b=0.2, c=0.0).judged(["a", "b", "c"], near, ALIKE)
    assert useless.sharp.keys() == {"a", "b", "c"}


def test_nobody_is_judged_on_a_few_reports_or_by_a_few_members() -> None:
    few = after(1, a=0.0, b=0.0)
    assert few.judged(["a", "b"], pairs(ab=0.8), ALIKE) is few
    one = after(2, a=0.0)
    assert one.judged(["a", "b", "c"], pairs(ab=0.8), ALIKE) is one


def test_of_the_most_alike_and_of_those_unknown_nothing_is_expected() -> None:
    trust = after(2, a=0.0, b=0.0)
    for near in (pairs(ab=1.0), pairs()):
        assert trust.judged(["a", "b"], near, ALIKE).sharp == {"a": 64.0, "b": 64.0}


def test_what_was_accepted_of_another_circle_does_not_count() -> None:
    assert after(2, a=0.0, b=1.0).of_those(["b"]).accepted.keys() == {"b"}
