from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from helpers import random_units, unit
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifm.spectral.bank import _CHUNK, BankSettings, KnowledgeBank, Prototypes, retrieve
from omnifm.spectral.categorical import Categorical


def offer(client: str, tokens: torch.Tensor, group: str = "CT", size: int = 5) -> Prototypes:
    return Prototypes(client, group, tokens, torch.full((len(tokens),), size))


def bank_of(groups: str, frequency: list[float] | None = None, age: list[int] | None = None) -> KnowledgeBank:
    """Return a bank with an entry for each letter, of a client and a group of that name; ``sizes`` number them."""
    count = len(groups)
    return KnowledgeBank(
        random_units(count, 3),
        torch.arange(count),
        torch.tensor(frequency or [0.0] * count),
        torch.tensor(age or [0] * count, dtype=torch.int64),
        Categorical.none().with_more(groups),
        Categorical.none().with_more(groups),
    )


@pytest.mark.parametrize("k", [1, 3, 7, 20])
def test_retrieves_the_nearest_by_brute_force(k: int) -> None:
    tokens, entries = random_units(5, 4, 1), random_units(7, 4, 2)
    found, rows = retrieve(tokens, entries, k)
    expected = np.argsort(-(tokens.numpy() @ entries.numpy().T), axis=1)[:, :k]
    assert rows.tolist() == expected.tolist()
    np.testing.assert_array_equal(found, entries.numpy()[expected])


@pytest.mark.parametrize("count", [2 * _CHUNK - 3, 2 * _CHUNK, 2 * _CHUNK + 3])
def test_a_large_bank_is_searched_in_parts(count: int) -> None:
    tokens, entries = random_units(5, 4, 1), random_units(count, 4, 2)
    found, rows = retrieve(tokens, entries, 8)
    expected = np.argsort(-(tokens.numpy() @ entries.numpy().T), axis=1)[:, :8]
    assert rows.tolist() == expected.tolist()
    assert (rows.min(), rows.max()) < (torch.tensor(_CHUNK), torch.tensor(2 * _CHUNK))
    np.testing.assert_array_equal(found, entries.numpy()[expected])


def test_empty_bank_gives_nothing() -> None:
    found, rows = retrieve(random_units(5, 4), torch.zeros(0, 4), 3)
    assert found.shape == (5, 0, 4)
    assert rows.shape == (5, 0)


def test_first_merge_fills_an_empty_bank() -> None:
    tokens = unit([1, 0], [0, 1])
    bank = KnowledgeBank.empty().merge([offer("a", tokens, "CT", size=9)], merge_above=0.9)
    assert len(bank) == 2
    assert torch.equal(bank.tokens, tokens)
    assert bank.sizes.tolist() == [9, 9]
    assert bank.frequency.tolist() == [0, 0]
    assert bank.age.tolist() == [0, 0]
    assert (bank.clients.tolist(), bank.groups.tolist()) == (["a", "a"], ["CT", "CT"])


def test_near_prototype_refreshes_and_far_one_is_appended() -> None:
    bank = KnowledgeBank.empty().merge([offer("a", unit([1, 0, 0], [0, 1, 0]))], 0.9)
    bank = bank.grow_older(1.0).credit(torch.tensor([0, 1]), torch.tensor([3, 4]))
    near, far = unit([0.1, 1, 0]), unit([0, 0, 1])
    bank = bank.merge([offer("a", torch.cat([near, far]), size=8)], 0.9)
    torch.testing.assert_close(bank.tokens, torch.cat([unit([1, 0, 0]), near, far]))
    assert bank.sizes.tolist() == [5, 8, 8]
    assert bank.age.tolist() == [1, 0, 0]
    assert bank.frequency.tolist() == [3, 4, 0]


def test_similarity_at_the_threshold_refreshes() -> None:
    bank = KnowledgeBank.empty().merge([offer("a", unit([1, 0]))], 0.5)
    half = torch.tensor([[0.5, 0.75**0.5]])
    assert len(bank.merge([offer("a", half)], 0.5)) == 1
    assert len(bank.merge([offer("a", half)], 0.51)) == 2


def test_entries_of_other_clients_are_not_refreshed() -> None:
    bank = KnowledgeBank.empty().merge([offer("a", unit([1, 0]))], 0.9).merge([offer("b", unit([1, 0]), "MRI")], 0.9)
    assert (bank.clients.tolist(), bank.groups.tolist()) == (["a", "b"], ["CT", "MRI"])
    bank = bank.grow_older(1.0).merge([offer("b", unit([1, 0.1]), "MRI")], 0.9)
    assert bank.age.tolist() == [1, 0]
    assert torch.equal(bank.tokens[0], torch.tensor([1.0, 0.0]))


def test_an_entry_is_refreshed_once_a_merge() -> None:
    bank = KnowledgeBank.empty().merge([offer("a", unit([1, 0]))], 0.9)
    twins = unit([1, 0.01], [1, 0.02])
    assert torch.equal(bank.merge([offer("a", twins)], 0.9).tokens, twins)


def test_operations_leave_the_old_bank_as_it_was() -> None:
    bank = KnowledgeBank.empty().merge([offer("a", unit([1, 0]))], 0.9)
    bank.merge([offer("a", unit([1, 0.1]))], 0.9)
    bank.credit(torch.tensor([0]), torch.tensor([5]))
    bank.grow_older(0.5)
    assert bank.tokens.tolist() == [[1, 0]]
    assert (bank.frequency.tolist(), bank.age.tolist()) == ([0], [0])


def test_credit_adds_and_time_fades() -> None:
    bank = bank_of("aa").credit(torch.tensor([1, 0]), torch.tensor([1, 4])).grow_older(0.5)
    bank = bank.credit(torch.tensor([0]), torch.tensor([1]))
    assert bank.frequency.tolist() == [3.0, 0.5]
    assert bank.age.tolist() == [1, 1]


def kept(bank: KnowledgeBank) -> list[int]:
    return bank.sizes.tolist()


def test_pruning_drops_the_stale_even_where_there_is_room() -> None:
    bank = bank_of("aaa", age=[2, 3, 4], frequency=[0.0, 0.0, 9.0])
    assert kept(bank.prune(BankSettings(age_limit=3))) == [0, 1]


def test_pruning_keeps_the_most_retrieved() -> None:
    bank = bank_of("aaaa", frequency=[1.0, 4.0, 2.0, 3.0])
    assert kept(bank.prune(BankSettings(capacity=2, floor=0))) == [1, 3]


def test_pruning_keeps_the_younger_among_equals() -> None:
    bank = bank_of("aaa", age=[2, 0, 1])
    assert kept(bank.prune(BankSettings(capacity=2, floor=0))) == [1, 2]


def test_the_floor_protects_a_rare_group() -> None:
    bank = bank_of("aaaabb", frequency=[9.0, 8.0, 7.0, 6.0, 0.0, 1.0])
    assert kept(bank.prune(BankSettings(capacity=4, floor=0, client_floor=0))) == [0, 1, 2, 3]
    assert kept(bank.prune(BankSettings(capacity=4, floor=1, client_floor=0))) == [0, 1, 2, 5]
    assert kept(bank.prune(BankSettings(capacity=4, floor=2, client_floor=0))) == [0, 1, 4, 5]


def test_each_client_keeps_its_best_entries() -> None:
    bank = bank_of("aaaabb", frequency=[9.0, 8.0, 7.0, 6.0, 0.0, 1.0])
    assert kept(bank.prune(BankSettings(capacity=4, floor=0, client_floor=1))) == [0, 1, 2, 5]
    assert kept(bank.prune(BankSettings(capacity=4, floor=0, client_floor=9))) == [0, 1, 4, 5]


def test_floors_that_do_not_fit_share_the_capacity() -> None:
    bank = bank_of("aaabbb", frequency=[9.0, 8.0, 7.0, 3.0, 2.0, 1.0])
    assert kept(bank.prune(BankSettings(capacity=4, floor=3))) == [0, 1, 3, 4]


def test_an_empty_bank_can_be_pruned() -> None:
    assert len(KnowledgeBank.empty().grow_older(0.9).prune(BankSettings())) == 0


entries = st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.integers(0, 5))


@settings(max_examples=200, deadline=None)
@given(st.lists(entries, max_size=30), st.integers(1, 12), st.integers(0, 6), st.integers(1, 6))
def test_capacity_and_floors_hold(made: list[tuple[str, int, int]], capacity: int, floor: int, age_limit: int) -> None:
    bank = bank_of("".join(g for g, _, _ in made), [float(f) for _, f, _ in made], [a for _, _, a in made])
    young = Counter(group for group, _, age in made if age <= age_limit)
    pruned = bank.prune(BankSettings(capacity=capacity, floor=floor, age_limit=age_limit))
    assert len(pruned) == min(capacity, young.total())
    if floor * len(young) <= capacity:
        left = Counter(pruned.groups.tolist())
        assert all(left[group] >= min(floor, count) for group, count in young.items())
    assert [bank.tokens[row].tolist() for row in pruned.sizes] == pruned.tokens.tolist()


@pytest.mark.parametrize(
    "wrong", [{"capacity": 0}, {"min_cluster": 0}, {"floor": -1}, {"frequency_decay": 1.5}], ids=str
)
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BankSettings(**wrong)  # type: ignore[arg-type]
