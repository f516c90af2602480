"""The knowledge bank of spectral prototypes (GSKR, part 3; OmniFM, Sec. 3): retrieve, merge, prune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from omnifm.spectral.categorical import Categorical
from omnifm.utils.settings import Count, CountOrZero, Fraction, settings

_CHUNK = 16384
"""How many entries retrieval looks at together: their similarities to a batch stay in the processor's cache."""


@settings
class BankSettings:
    """How the bank is filled and kept: ``[bank]`` of an experiment.

    A client offers at most ``prototypes`` a round, each over at least ``min_cluster`` samples. ``capacity`` is the most
    entries; ``floor`` how many entries each group keeps however rarely they are asked for, and ``client_floor`` each
    client, as far as there is room for all (whom a client without any is like cannot be told); ``age_limit`` after how
    many rounds without refreshment an entry leaves; ``merge_above`` the cosine similarity from which a new prototype
    refreshes an entry of its own client instead of becoming a new one; ``frequency_decay`` how much of the old
    retrieval frequency lives on in each round.
    """

    prototypes: Count = 16
    min_cluster: Count = 5
    capacity: Count = 256
    floor: CountOrZero = 8
    client_floor: CountOrZero = 2
    age_limit: Count = 10
    merge_above: float = 0.98
    frequency_decay: Fraction = 0.9


@dataclass(frozen=True)
class Prototypes:
    """What one client offers to the bank: ``tokens`` ``(c, dim)`` of norm 1, each over ``sizes`` ``(c,)`` samples."""

    client: str
    group: str
    tokens: Float[Tensor, "c dim"]
    sizes: Int[Tensor, "_"]  # any length: those of an upload are compared with the tokens later (`check_offer`)

    def select(self, rows: Int64[Tensor, "m"]) -> Prototypes:
        """Return those of ``rows`` ``(m,)`` int64."""
        return replace(self, tokens=self.tokens[rows], sizes=self.sizes[rows])


def retrieve(
    tokens: Float[Tensor, "batch dim"], entries: Float[Tensor, "n dim"], k: int
) -> tuple[Float[Tensor, "batch m dim"], Int64[Tensor, "batch m"]]:
    """Return, for tokens ``(batch, dim)``, the ``k`` most similar of ``entries`` ``(n, dim)`` by cosine.

    Both are of norm 1. Gives the entries ``(batch, min(k, n), dim)`` and their indices ``(batch, min(k, n))``. A large
    bank is looked through part by part, so that the similarities to all of it never exist at once.
    """
    tokens, k = tokens.detach(), min(k, len(entries))
    found = [_nearest(tokens, part, k) for part in torch.split(entries, _CHUNK)]
    indices = found[0].indices
    if len(found) > 1:
        best = torch.cat([part.values for part in found], dim=1).topk(k, dim=1).indices
        indices = torch.cat([part.indices + _CHUNK * place for place, part in enumerate(found)], dim=1).gather(1, best)
    return entries[indices], indices


def _nearest(tokens: Float[Tensor, "batch dim"], entries: Float[Tensor, "n dim"], k: int) -> torch.return_types.topk:
    return (tokens @ entries.T).topk(min(k, len(entries)), dim=1)


@dataclass(frozen=True)
class KnowledgeBank:
    """Prototypes of all clients, one row an entry. Every operation returns a new bank.

    ``tokens`` ``(n, dim)`` float32 of norm 1; ``sizes`` ``(n,)`` the samples behind each; ``frequency`` ``(n,)``
    the decayed number of retrievals; ``age`` ``(n,)`` rounds since it was refreshed; ``clients`` and ``groups``
    whose it is.
    """

    tokens: Float[Tensor, "n dim"]
    sizes: Int[Tensor, "n"]
    frequency: Float[Tensor, "n"]
    age: Int[Tensor, "n"]
    clients: Categorical
    groups: Categorical

    @classmethod
    def empty(cls) -> KnowledgeBank:
        """Return a bank without entries; the first merge gives it the width of its tokens."""
        return cls(
            torch.zeros(0, 0),
            torch.zeros(0, dtype=torch.int64),
            torch.zeros(0),
            torch.zeros(0, dtype=torch.int64),
            Categorical.none(),
            Categorical.none(),
        )

    def __len__(self) -> int:
        return len(self.age)

    def select(self, rows: Int64[Tensor, "m"]) -> KnowledgeBank:
        """Return the entries of ``rows`` ``(m,)`` int64, in that order."""
        return KnowledgeBank(
            self.tokens[rows],
            self.sizes[rows],
            self.frequency[rows],
            self.age[rows],
            self.clients.select(rows),
            self.groups.select(rows),
        )

    def credit(self, rows: Int64[Tensor, "m"], counts: Int[Tensor, "m"]) -> KnowledgeBank:
        """Add one client's retrieval ``counts`` ``(m,)`` to the frequency of the entries ``rows`` ``(m,)``."""
        return replace(self, frequency=self.frequency.index_add(0, rows, counts.to(self.frequency)))

    def grow_older(self, decay: float) -> KnowledgeBank:
        """Let one round pass: every entry ages, its frequency fades."""
        return replace(self, age=self.age + 1, frequency=self.frequency * decay)

    def merge(self, offers: Sequence[Prototypes], merge_above: float) -> KnowledgeBank:
        """Take in what clients offer in a round, one offer a client.

        A prototype that is near to an entry of the same client refreshes it: the entry moves to the new place (tokens
        of older weights are stale), takes its size, becomes young and keeps its retrieval frequency. The others are
        appended, in the order of the offers.
        """
        if not any(len(new.tokens) for new in offers):
            return self
        taken, again, fresh = zip(*[self._split(new, merge_above) for new in offers], strict=True)
        entries = torch.cat(taken)
        tokens = torch.cat([*([self.tokens] if len(self) else []), *(new.tokens for new in fresh)])
        tokens[entries] = torch.cat([new.tokens for new in again])
        sizes = torch.cat([self.sizes, *(new.sizes for new in fresh)])
        sizes[entries] = torch.cat([new.sizes for new in again])
        age = torch.cat([self.age, *(torch.zeros_like(new.sizes) for new in fresh)])
        age[entries] = 0
        return KnowledgeBank(
            tokens,
            sizes,
            torch.cat([self.frequency, self.frequency.new_zeros(len(age) - len(self))]),
            age,
            self.clients.with_more([new.client for new in fresh for _ in new.tokens]),
            self.groups.with_more([new.group for new in fresh for _ in new.tokens]),
        )

    def _split(self, new: Prototypes, merge_above: float) -> tuple[Int64[Tensor, "m"], Prototypes, Prototypes]:
        """Return the entries that a client refreshes, the prototypes that do it, and those that are fresh.

        One after another, each prototype takes the nearest of its client's entries that none before it has taken.
        """
        own = self.clients.rows_of(new.client)
        similarity = self.tokens[own] @ new.tokens.T if len(own) else torch.zeros(0, len(new.tokens))
        taken, again, fresh = list[int](), list[int](), list[int]()
        for place, near in enumerate(similarity.unbind(dim=1)):
            best = int(near.argmax()) if len(taken) < len(own) else None
            if best is None or near[best] < merge_above:
                fresh.append(place)
            else:
                taken.append(best)
                again.append(place)
                similarity[best] = -torch.inf
        return own[_rows(taken)], new.select(_rows(again)), new.select(_rows(fresh))

    def prune(self, settings: BankSettings) -> KnowledgeBank:
        """Drop the stale, then the least retrieved, down to the capacity.

        Each group first keeps its ``floor`` best entries, each client its ``client_floor`` (or an equal share of the
        capacity, if the floors together would exceed it); the rest of the room goes by retrieval frequency, the younger
        first among equals.
        """
        young = self.age <= settings.age_limit
        bank = self if young.all() else self.select(young.nonzero().flatten())
        if len(bank) <= settings.capacity:
            return bank
        order = bank.age.argsort(stable=True)
        order = order[bank.frequency[order].argsort(stable=True, descending=True)]
        protected = torch.zeros(len(bank), dtype=torch.bool)
        for owners, floor in ((bank.groups, settings.floor), (bank.clients, settings.client_floor)):
            protected |= _rank(owners.codes[order]) < min(floor, settings.capacity // len(owners.names))
        kept = torch.cat([order[protected], order[~protected]])[: settings.capacity]
        return bank.select(kept.sort().values)


def _rank(codes: Int64[Tensor, "n"]) -> Int64[Tensor, "n"]:
    """Return for each row how many before it have the same code, ``(n,)``."""
    together = codes.argsort(stable=True)
    counts = torch.bincount(codes)
    starts = (counts.cumsum(0) - counts)[codes[together]]
    rank = torch.empty_like(codes)
    rank[together] = torch.arange(len(codes)) - starts
    return rank


def _rows(numbers: list[int]) -> Int64[Tensor, "n"]:
    return torch.tensor(numbers, dtype=torch.int64)
