"""Merging and pruning against the same rules written entry by entry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes


@dataclass
class Entry:
    token: list[float]
    size: int
    frequency: float
    age: int
    client: str
    group: str


def merged(bank: list[Entry], new: Prototypes, merge_above: float) -> list[Entry]:
    own = [entry for entry in bank if entry.client == new.client]
    fresh = []
    for token, size in zip(new.tokens.tolist(), new.sizes.tolist(), strict=True):
        near = [sum(a * b for a, b in zip(entry.token, token, strict=True)) for entry in own]
        if not own or max(near) < merge_above:
            fresh.append(Entry(token, size, 0.0, 0, new.client, new.group))
            continue
        entry = own.pop(near.index(max(near)))
        entry.token, entry.size, entry.age = token, size, 0
    return bank + fresh


def pruned(bank: list[Entry], rules: BankSettings) -> list[Entry]:
    bank = [entry for entry in bank if entry.age <= rules.age_limit]
    if len(bank) <= rules.capacity:
        return bank
    order = sorted(range(len(bank)), key=lambda i: (-bank[i].frequency, bank[i].age, i))
    protected = set[int]()
    for floor, owners in (
        (rules.floor, [entry.group for entry in bank]),
        (rules.client_floor, [entry.client for entry in bank]),
    ):
        most = min(floor, rules.capacity // len(set(owners)))
        protected |= {i for name in owners for i in [j for j in order if owners[j] == name][:most]}
    kept = [i for i in order if i in protected] + [i for i in order if i not in protected]
    return [bank[i] for i in sorted(kept[: rules.capacity])]


# Their products are exact in any order of addition, and often equal.
tokens = st.sampled_from(
    [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0.5] * 4, [0.5, 0.5, -0.5, 0.5], [-0.5, 0.5, 0.5, 0.5], [0, 0, 0, -1.0]]
)
offers = st.lists(st.lists(tokens, max_size=4), min_size=1, max_size=3)
frequencies = st.lists(st.integers(0, 3), min_size=40, max_size=40)


def entries_of(bank: KnowledgeBank) -> list[Entry]:
    columns = (bank.tokens, bank.sizes, bank.frequency, bank.age, bank.clients, bank.groups)
    return [Entry(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(offers, max_size=5),
    frequencies,
    st.sampled_from([0.4, 0.5, 1.0, 1.5]),
    st.integers(1, 8),
    st.integers(0, 3),
)
def test_rounds_are_those_of_the_plain_rules(
    rounds: list[list[list[list[float]]]], frequency: list[int], merge_above: float, capacity: int, client_floor: int
) -> None:
    rules = BankSettings(capacity=capacity, floor=2, client_floor=client_floor, age_limit=3, merge_above=merge_above)
    bank, plain = KnowledgeBank.empty(), list[Entry]()
    for number, offered in enumerate(rounds):
        bank = bank.grow_older(0.5)
        new = [
            Prototypes("abc"[at], "xyx"[at], torch.tensor(made).reshape(-1, 4), torch.arange(len(made)) + number)
            for at, made in enumerate(offered)
        ]
        rows = torch.arange(len(bank))
        bank = bank.credit(rows, torch.tensor(frequency[: len(bank)], dtype=torch.int64)).merge(new, merge_above)
        for entry, count in zip(plain, frequency, strict=False):
            entry.age, entry.frequency = entry.age + 1, entry.frequency * 0.5 + count
        for one in new:
            plain = merged(plain, one, merge_above)
        assert entries_of(bank) == plain
        bank, plain = bank.prune(rules), pruned(plain, rules)
        assert entries_of(bank) == plain
