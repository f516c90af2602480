"""The knowledge bank of spectral prototypes (GSKR, part 3; OmniFM, Sec. 3): retrieve, merge, prune."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class BankSettings:
    """How the bank is filled and kept: ``[bank]`` of an experiment.

    A client offers at most ``prototypes`` a round, each over at least ``min_cluster`` samples. ``capacity`` is the most
    entries; ``floor`` how many entries each group keeps however rarely they are asked for; ``age_limit`` after how many
    rounds without refreshment an entry leaves; ``merge_above`` the cosine similarity from which a new prototype
    refreshes an entry of its own client instead of becoming a new one; ``frequency_decay`` how much of the old
    retrieval frequency lives on in each round.
    """

    prototypes: int = 16
    min_cluster: int = 5
    capacity: int = 256
    floor: int = 8
    age_limit: int = 10
    merge_above: float = 0.98
    frequency_decay: float = 0.9

    def __post_init__(self) -> None:
        if min(self.prototypes, self.min_cluster, self.capacity, self.age_limit) < 1 or self.floor < 0:
            raise ValueError(
                "prototypes, min_cluster, capacity and age_limit must be at least 1 and floor not negative"
            )
        if not 0 <= self.frequency_decay <= 1:
            raise ValueError("frequency_decay must lie in [0, 1]")


@dataclass(frozen=True)
class Prototypes:
    """What one client offers to the bank: ``tokens`` ``(c, dim)`` of norm 1, each over ``sizes`` ``(c,)`` samples."""

    client: str
    group: str
    tokens: Tensor
    sizes: Tensor


def retrieve(tokens: Tensor, entries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return, for tokens ``(batch, dim)``, the ``k`` most similar of ``entries`` ``(n, dim)`` by cosine.

    Both are of norm 1. Gives the entries ``(batch, min(k, n), dim)`` and their indices ``(batch, min(k, n))``.
    """
    similarity = tokens.detach() @ entries.T
    indices = similarity.topk(min(k, len(entries)), dim=1).indices
    return entries[indices], indices


@dataclass(frozen=True)
class KnowledgeBank:
    """Prototypes of all clients, one row an entry. Every operation returns a new bank.

    ``tokens`` ``(n, dim)`` float32 of norm 1; ``sizes`` ``(n,)`` the samples behind each; ``frequency`` ``(n,)``
    the decayed number of retrievals; ``age`` ``(n,)`` rounds since it was refreshed; ``clients`` and ``groups``
    whose it is.
    """

    tokens: Tensor
    sizes: Tensor
    frequency: Tensor
    age: Tensor
    clients: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @classmethod
    def empty(cls) -> KnowledgeBank:
        """Return a bank without entries; the first merge gives it the width of its tokens."""
        return cls(
            torch.zeros(0, 0),
            torch.zeros(0, dtype=torch.int64),
            torch.zeros(0),
            torch.zeros(0, dtype=torch.int64),
        )

    def __len__(self) -> int:
        return len(self.clients)

    def select(self, rows: Tensor) -> KnowledgeBank:
        """Return the entries of ``rows`` ``(m,)`` int64, in that order."""
        chosen = rows.tolist()
        return KnowledgeBank(
            self.tokens[rows],
            self.sizes[rows],
            self.frequency[rows],
            self.age[rows],
            tuple(self.clients[i] for i in chosen),
            tuple(self.groups[i] for i in chosen),
        )

    def credit(self, retrieved: Tensor) -> KnowledgeBank:
        """Add retrieval counts ``(n,)`` of one client to the frequency of the entries."""
        return replace(self, frequency=self.frequency + retrieved)

    def grow_older(self, decay: float) -> KnowledgeBank:
        """Let one round pass: every entry ages, its frequency fades."""
        return replace(self, age=self.age + 1, frequency=self.frequency * decay)

    def merge(self, new: Prototypes, merge_above: float) -> KnowledgeBank:
        """Take in a client's prototypes.

        One that is near to an entry of the same client refreshes it: the entry moves to the new place (tokens of older
        weights are stale), takes its size, becomes young and keeps its retrieval frequency. The others are appended.
        """
        tokens = self.tokens.clone() if len(self) else new.tokens[:0]
        sizes, age = self.sizes.clone(), self.age.clone()
        own = torch.tensor([client == new.client for client in self.clients], dtype=torch.bool)
        fresh: list[int] = []
        for row in range(len(new.tokens)):
            if not own.any():
                fresh.append(row)
                continue
            similarity = (self.tokens @ new.tokens[row]).masked_fill(~own, -torch.inf)
            best = int(similarity.argmax())
            if similarity[best] < merge_above:
                fresh.append(row)
                continue
            tokens[best], sizes[best], age[best] = new.tokens[row], new.sizes[row], 0
            own[best] = False
        return KnowledgeBank(
            torch.cat([tokens, new.tokens[fresh]]),
            torch.cat([sizes, new.sizes[fresh]]),
            torch.cat([self.frequency, self.frequency.new_zeros(len(fresh))]),
            torch.cat([age, age.new_zeros(len(fresh))]),
            self.clients + (new.client,) * len(fresh),
            self.groups + (new.group,) * len(fresh),
        )

    def prune(self, settings: BankSettings) -> KnowledgeBank:
        """Drop the stale, then the least retrieved, down to the capacity.

        Each group first keeps its ``floor`` best entries (or an equal share of the capacity, if the floors together
        would exceed it); the rest of the room goes by retrieval frequency, the younger first among equals.
        """
        bank = self.select((self.age <= settings.age_limit).nonzero().flatten())
        if len(bank) <= settings.capacity:
            return bank
        names = dict.fromkeys(bank.groups)
        floor = min(settings.floor, settings.capacity // len(names))
        order = sorted(range(len(bank)), key=lambda i: (-float(bank.frequency[i]), int(bank.age[i]), i))
        protected = [i for name in names for i in [j for j in order if bank.groups[j] == name][:floor]]
        taken = set(protected)
        kept = protected + [i for i in order if i not in taken][: settings.capacity - len(protected)]
        return bank.select(torch.tensor(sorted(kept), dtype=torch.int64))
