from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from helpers import random_units

from omnifm.algorithms.circle_evidence import RetrievalEvidence, Retrievals
from omnifm.spectral.bank import KnowledgeBank, Prototypes


def bank_of(entries: Mapping[str, int]) -> KnowledgeBank:
    """Return a bank with so many entries of each owner."""
    offers = [
        Prototypes(name, "any", random_units(count, 8, seed), torch.full((count,), 5))
        for seed, (name, count) in enumerate(entries.items())
    ]
    return KnowledgeBank.empty().merge(offers, 2.0)


def seen(bank: KnowledgeBank, reader: str, counts: Mapping[str, int]) -> Retrievals:
    """Return the retrievals of a client: so many of each owner's first entry."""
    rows = torch.stack([bank.clients.rows_of(owner)[0] for owner in counts])
    return Retrievals(reader, rows, torch.tensor(list(counts.values())))


def told(tables: Mapping[str, Mapping[str, int]], entries: Mapping[str, int] | None = None) -> RetrievalEvidence:
    """Return the evidence of one round in which each client retrieved from each owner so often."""
    bank = bank_of(entries or dict.fromkeys(tables, 2))
    return RetrievalEvidence.none(list(tables)).with_round(bank, [seen(bank, n, t) for n, t in tables.items()])


MIXED = {
    "a1": {"a1": 50, "a2": 30, "b1": 12, "b2": 8},
    "a2": {"a1": 40, "a2": 45, "b1": 10, "b2": 5},
    "b1": {"a1": 5, "a2": 5, "b1": 50, "b2": 40},
    "b2": {"a1": 10, "a2": 5, "b1": 40, "b2": 45},
}


def test_those_who_retrieve_each_other_are_a_circle() -> None:
    assert told(MIXED).groups({}) == [["a1", "a2"], ["b1", "b2"]]


def test_where_all_are_alike_there_is_one_circle() -> None:
    names = [f"c{number}" for number in range(5)]
    tables = {one: {other: 30 if one == other else 18 for other in names} for one in names}
    assert told(tables).groups({}) == [names]


def test_nobody_is_like_me_is_an_answer() -> None:
    names = [f"c{number}" for number in range(5)]
    tables = {one: {other: 70 if one == other else 8 for other in names} for one in names}
    assert told(tables).groups({}) == []
    assert told({"alone": {"alone": 1}}).groups({}) == []


@pytest.mark.parametrize("members", [2, 5, 20])
def test_a_circle_may_have_any_size(members: int) -> None:
    kinds = {f"{kind}{number}": kind for kind in "abc" for number in range(members)}
    tables = {
        one: {other: 100 if one == other else 55 if kinds[other] == kind else 5 for other in kinds}
        for one, kind in kinds.items()
    }
    assert told(tables).groups({}) == [[name for name in kinds if kinds[name] == kind] for kind in "abc"]


def test_affinity_by_hand() -> None:
    affinity = told({"a": {"a": 50, "b": 25}, "b": {"a": 10, "b": 40}}).affinity
    torch.testing.assert_close(affinity, torch.tensor([[1.0, (0.5 * 0.25) ** 0.5], [(0.5 * 0.25) ** 0.5, 1.0]]))


def test_many_entries_are_no_likeness() -> None:
    even = told({"a": {"a": 40, "b": 20}, "b": {"a": 20, "b": 40}}, {"a": 2, "b": 2}).affinity[0, 1]
    crowd = told({"a": {"a": 40, "b": 80}, "b": {"a": 20, "b": 160}}, {"a": 2, "b": 8}).affinity[0, 1]
    torch.testing.assert_close(even, crowd)


def test_one_direction_is_enough_and_none_is_unlike() -> None:
    bank = bank_of({"a": 2, "b": 2})
    none = RetrievalEvidence.none(["a", "b"])
    assert float(none.with_round(bank, [seen(bank, "a", {"a": 40, "b": 20})]).affinity[0, 1]) == 0.5
    assert float(none.with_round(bank, []).affinity[0, 1]) == 0.0


def test_all_rounds_count_alike() -> None:
    bank, evidence = bank_of({"a": 1, "b": 1}), RetrievalEvidence.none(["a", "b"])
    evidence = evidence.with_round(bank, [seen(bank, "a", {"a": 10})])
    evidence = evidence.with_round(bank, [seen(bank, "a", {"b": 10})])
    assert evidence.retrieved[0].tolist() == [1.0, 1.0]
    assert evidence.expected[0].tolist() == [1.0, 1.0]


def test_owners_come_and_go() -> None:
    first, second = bank_of({"a": 1, "b": 1}), bank_of({"b": 1, "c": 1})
    evidence = RetrievalEvidence.none(["a", "b", "c"]).with_round(first, [seen(first, "b", {"a": 2, "b": 6})])
    evidence = evidence.with_round(second, [])
    assert evidence.owners == ("b", "c")
    assert evidence.retrieved[1].tolist() == [0.75, 0.0]
    assert evidence.expected[1].tolist() == [0.5, 0.0]


def test_a_client_without_entries_follows_the_circle_that_it_retrieves_from() -> None:
    bank = bank_of(dict.fromkeys(MIXED, 2))
    evidence = RetrievalEvidence.none([*MIXED, "guest", "stranger"])
    for _ in range(2):
        rows = [seen(bank, name, table) for name, table in MIXED.items()]
        rows += [seen(bank, "guest", {"a1": 40, "a2": 30, "b1": 30})]
        rows += [seen(bank, "stranger", {"a1": 25, "a2": 25, "b1": 25, "b2": 25})]
        evidence = evidence.with_round(bank, rows)
        assert evidence.groups({})[0] == (["a1", "a2"] if _ == 0 else ["a1", "a2", "guest"])
    assert evidence.groups({})[1] == ["b1", "b2"]


def test_an_unknown_client_is_not_counted() -> None:
    bank = bank_of({"a": 1, "b": 1})
    evidence = RetrievalEvidence.none(["a", "b"]).with_round(bank, [seen(bank, "x", {"a": 5})])
    assert float(evidence.retrieved.sum()) == 0.0


def test_sharpened_only_the_most_alike_stay_together() -> None:
    assert told(MIXED).groups({"b1": 3.0}) == [["a1", "a2"], ["b1", "b2"]]
    assert told(MIXED).groups({"a1": 4.0}) == [["b1", "b2"]]


def test_mean_affinity_to_the_other_members_with_entries() -> None:
    evidence = told({"a": {"a": 50, "b": 25, "c": 50}, "b": {"a": 10, "b": 40}, "c": {"a": 10, "c": 10}})
    ab, ac, bc = evidence.affinity[0, 1:].tolist() + evidence.affinity[1, 2:].tolist()
    means = evidence.mean_affinity(["a", "b", "c", "stranger"])
    assert means == {
        "a": pytest.approx((ab + ac) / 2),
        "b": pytest.approx((ab + bc) / 2),
        "c": pytest.approx((ac + bc) / 2),
    }
    assert evidence.mean_affinity(["a", "stranger"]) == {}


def test_a_client_that_is_not_in_the_federation_has_no_affinity() -> None:
    bank = bank_of({"a": 1, "b": 1, "x": 1})
    evidence = RetrievalEvidence.none(["a", "b"])
    evidence = evidence.with_round(bank, [seen(bank, name, {"a": 5, "b": 5, "x": 5}) for name in "ab"])
    assert evidence.groups({}) == [["a", "b"]]
    assert evidence.mean_affinity(["a", "b"]) == {"a": 1.0, "b": 1.0}


def test_who_retrieves_none_of_its_own_says_nothing_of_others() -> None:
    assert float(told({"a": {"b": 50}, "b": {"a": 5, "b": 50}}).affinity[0, 1]) == pytest.approx(0.1)
    assert float(told({"a": {"b": 50}, "b": {"a": 50}}).affinity[0, 1]) == 0.0
