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
"""Entries that retrieval compares at a time: their similarities to a batch fit the processor's cache."""


@settings
class BankSettings:
    """How the bank is filled and kept: ``[bank]`` of an experiment.

    Attributes:
        prototypes: the most prototypes that a client offers in a round.
        min_cluster: the fewest patients behind a prototype.
        rounded: whether prototypes of fixed keys are rounded before they leave, so that they tell less of one patient.
        capacity: the most entries that the bank holds.
        floor: how many entries each group keeps however rarely they are retrieved, as far as the capacity allows.
        client_floor: how many entries each client keeps, as far as the capacity allows; without any, its affinity to
            others is unknown.
        age_limit: after how many rounds without refreshment an entry is dropped.
        merge_above: from this cosine similarity on, a new prototype refreshes an entry of its client instead of
            becoming a new one. So 0 keeps hardly more than the latest prototypes of each client: were older ones, which
            are much the same, to add up, each client would retrieve ever more of its own.
        frequency_decay: the share of the retrieval frequency that remains after a round.
    """

    prototypes: Count = 16
    min_cluster: Count = 12
    rounded: bool = True
    capacity: Count = 256
    floor: CountOrZero = 8
    client_floor: CountOrZero = 2
    age_limit: Count = 10
    merge_above: float = 0.0
    frequency_decay: Fraction = 0.9


@dataclass(frozen=True)
class Prototypes:
    """One client's prototypes: ``tokens`` ``(c, dim)`` of norm 1, each of images of ``sizes`` ``(c,)`` patients."""

    client: str
    group: str
    tokens: Float[Tensor, "c dim"]
    sizes: Int[Tensor, "_"]  # of any length: `check_bank_upload` compares it with the tokens later

    def select(self, rows: Int64[Tensor, "m"]) -> Prototypes:
        """Return those of ``rows`` ``(m,)`` int64."""
        return replace(self, tokens=self.tokens[rows], sizes=self.sizes[rows])


def retrieve(
    tokens: Float[Tensor, "batch dim"], entries: Float[Tensor, "n dim"], k: int
) -> tuple[Float[Tensor, "batch m dim"], Int64[Tensor, "batch m"]]:
    """Return, for tokens ``(batch, dim)``, the ``k`` most similar of ``entries`` ``(n, dim)`` by cosine.

    Both are of norm 1. Gives the entries ``(batch, min(k, n), dim)`` and their indices ``(batch, min(k, n))``. A large
    bank is searched in parts, so that the similarities to all entries never exist at once.
    """
    tokens, k = tokens.detach(), min(k, len(entries))
    tops = [_nearest(tokens, part, k) for part in torch.split(entries, _CHUNK)]
    indices = tops[0].indices
    if len(tops) > 1:
        best = torch.cat([part.values for part in tops], dim=1).topk(k, dim=1).indices
        indices = torch.cat([part.indices + _CHUNK * place for place, part in enumerate(tops)], dim=1).gather(1, best)
    return entries[indices], indices


def counted_of(entries: int, k: int) -> int:
    """Return how many of the ``k`` prototypes that an image retrieves are counted, the nearest, in so large a bank.

    At most a quarter of the bank: were it all, everybody would retrieve everybody, however unlike they are.
    """
    return min(k, max(1, entries // 4))


def _nearest(tokens: Float[Tensor, "batch dim"], entries: Float[Tensor, "n dim"], k: int) -> torch.return_types.topk:
    return (tokens @ entries.T).topk(min(k, len(entries)), dim=1)


@dataclass(frozen=True)
class KnowledgeBank:
    """Prototypes of all clients, one row per entry. Every operation returns a new bank.

    ``tokens`` ``(n, dim)`` float32 of norm 1; ``sizes`` ``(n,)`` the patients behind each; ``frequency`` ``(n,)``
    the decayed number of retrievals; ``age`` ``(n,)`` rounds since it was refreshed; ``clients`` and ``groups``
    its owner.
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
        """Age every entry by one round and decay its frequency."""
        return replace(self, age=self.age + 1, frequency=self.frequency * decay)

    def merge(self, offers: Sequence[Prototypes], merge_above: float) -> KnowledgeBank:
        """Merge the prototypes of a round, one set per client.

        A prototype near an entry of the same client refreshes it: it replaces token and size (tokens of older weights
        are stale) and resets the age; the retrieval frequency stays. The others are appended, in the order of
        ``offers``.
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
        """Return the entries that a client refreshes, the prototypes that refresh them, and the fresh ones.

        In order, each prototype takes the nearest entry of its client that is not yet taken.
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
        """Drop stale entries, then the least retrieved ones, down to the capacity.

        Each group keeps its ``floor`` best entries, each client its ``client_floor`` (or an equal share of the
        capacity, if the floors would exceed it); the remaining places go by retrieval frequency, ties to the younger.
        No client gets more than twice an equal share while others have entries for the places.
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
        crowded = _rank(bank.clients.codes[order]) >= 2 * settings.capacity // len(bank.clients.names)
        turn = torch.where(crowded, 2, torch.where(protected, 0, 1))
        kept = order[turn.argsort(stable=True)][: settings.capacity]
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
