from __future__ import annotations

from helpers import made_holdings

from omnifm.algorithms.circles import ALONE, Circles
from omnifm.data.client_stats import ClientStats


def test_without_circles_everyone_is_alone() -> None:
    assert Circles().circle("anyone") == ALONE
    assert Circles().members == {}


def test_a_declared_group_of_one_is_no_circle() -> None:
    clients = [ClientStats(name, name[:2], 10, 2, 2) for name in ("CT-1", "CT-2", "MR-1")]
    assert Circles.of_groups(clients).members == {0: ["CT-1", "CT-2"]}
    assert len(Circles.of_groups(made_holdings(3)).of) == 3


def test_clients_that_have_not_said_what_they_have_are_no_group() -> None:
    unknown = [ClientStats(name, "", 0, 0, 0) for name in "cd"]
    known = [ClientStats(name, "CT", 8, 2, 2) for name in "ab"]
    assert Circles.of_groups([*known, *unknown]).of == {"a": 0, "b": 0}


def test_a_circle_keeps_its_number_as_members_come_and_go() -> None:
    first, _ = Circles().regrouped([["a", "b"], ["c", "d"]])
    assert first.of == {"a": 0, "b": 0, "c": 1, "d": 1}
    second, shares = first.regrouped([["c", "d", "new"], ["a", "b"]])
    assert second.of == {"a": 0, "b": 0, "c": 1, "d": 1, "new": 1}
    assert shares == {1: {1: 1.0}, 0: {0: 1.0}}


def test_a_merged_circle_is_the_mean_of_its_parts_by_members() -> None:
    before, _ = Circles().regrouped([["a", "b", "c"], ["d", "e"]])
    after, shares = before.regrouped([["a", "b", "c", "d", "e"]])
    assert set(after.of.values()) == {0}
    assert shares == {0: {0: 0.6, 1: 0.4}}


def test_both_parts_of_a_divided_circle_start_from_its_weights() -> None:
    before, _ = Circles().regrouped([["a", "b", "c", "d", "e"]])
    after, shares = before.regrouped([["a", "b"], ["c", "d", "e"]])
    assert after.of == {"a": 1, "b": 1, "c": 0, "d": 0, "e": 0}
    assert shares == {1: {0: 1.0}, 0: {0: 1.0}}


def test_a_new_circle_has_a_number_that_was_never_used_and_no_weights() -> None:
    before, _ = Circles().regrouped([["a", "b"], ["c", "d"]])
    between, _ = before.regrouped([["a", "b"]])
    after, shares = between.regrouped([["a", "b"], ["c", "d"]])
    assert after.of == {"a": 0, "b": 0, "c": 2, "d": 2}
    assert shares == {0: {0: 1.0}, 2: {}}
