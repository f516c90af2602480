"""Who is like whom, read off the bank: whose prototypes a client retrieves, beside how often it retrieves its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from omnifm.spectral.bank import KnowledgeBank

ALIKE = 1 / 3
"""From here two clients are alike: each retrieves the other's prototypes at least so often as its own, on average."""


class Retrievals(NamedTuple):
    """Which ``rows`` ``(m,)`` of the bank a client retrieved in a round, and how often each: ``counts`` ``(m,)``."""

    client: str
    rows: Tensor
    counts: Tensor


@dataclass(frozen=True)
class RetrievalEvidence:
    """How often each client has retrieved each owner's prototypes, and how often it would have by chance.

    ``clients`` are all; ``owners`` those with entries in the bank, no more than it has entries. ``retrieved`` and
    ``expected`` ``(clients, owners)`` float32 are sums over the rounds of shares of a client's retrievals; older rounds
    fade. By chance an owner is retrieved in proportion to its entries. 0 expected: the client has not met that owner.
    """

    clients: tuple[str, ...]
    owners: tuple[str, ...]
    retrieved: Tensor
    expected: Tensor

    @classmethod
    def none(cls, clients: Sequence[str]) -> RetrievalEvidence:
        """Return no evidence."""
        empty = torch.zeros(len(clients), 0)
        return cls(tuple(clients), (), empty, empty)

    def with_round(self, bank: KnowledgeBank, seen: Iterable[Retrievals], decay: float) -> RetrievalEvidence:
        """Return the evidence after a round in which clients retrieved from ``bank``."""
        owners = bank.clients.names
        retrieved, expected = self._aligned(self.retrieved, owners), self._aligned(self.expected, owners)
        row_of = {name: row for row, name in enumerate(self.clients)}
        entries = torch.bincount(bank.clients.codes, minlength=len(owners)).float()
        for client, rows, number in seen:
            row = row_of.get(client)
            if row is None or not int(number.sum()):
                continue
            counts = torch.bincount(bank.clients.codes[rows], number, minlength=len(owners)).float()
            retrieved[row] = decay * retrieved[row] + counts / counts.sum()
            expected[row] = decay * expected[row] + entries / entries.sum()
        return RetrievalEvidence(self.clients, owners, retrieved, expected)

    def _aligned(self, table: Tensor, owners: Sequence[str]) -> Tensor:
        """Return the table with a column for each of the owners; a new one has none of the evidence yet."""
        place = {name: column for column, name in enumerate(self.owners)}
        aligned = table.new_zeros(len(self.clients), len(owners))
        known = [(new, place[name]) for new, name in enumerate(owners) if name in place]
        if known:
            new, old = (list(columns) for columns in zip(*known, strict=True))
            aligned[:, new] = table[:, old]
        return aligned

    def affinity(self) -> Tensor:
        """Return how alike the owners are, ``(owners, owners)``, symmetric, from 0 to 1 (and 1 with oneself).

        It is the geometric mean, over both directions that are known, of how often one retrieves the other's
        prototypes for each time that it retrieves its own, both weighed against chance. Nothing known gives 0.
        """
        rows = [self.clients.index(name) for name in self.owners]
        lift = self.retrieved[rows] / self.expected[rows]  # NaN where nothing is known
        ratio = (lift / lift.diagonal().unsqueeze(1)).clamp(max=1.0)
        ratio = torch.where(ratio.isfinite(), ratio, torch.nan)
        both = (ratio * ratio.T).sqrt()
        either = torch.where(ratio.isnan(), ratio.T, ratio)
        found = torch.where(both.isnan(), either, both).nan_to_num(0.0)
        return found.fill_diagonal_(1.0)

    def pairs(self, members: Sequence[str]) -> dict[tuple[str, str], float]:
        """Return the affinity of each pair of members that have entries."""
        place = {name: row for row, name in enumerate(self.owners)}
        known, affinity = [name for name in members if name in place], self.affinity().tolist()
        return {(one, other): affinity[place[one]][place[other]] for one, other in combinations(known, 2)}

    def groups(self, sharp: Mapping[str, float]) -> list[list[str]]:
        """Return the circles of at least two clients: average linkage over the affinity, cut at :data:`ALIKE`.

        The affinity of a pair is raised to the larger power that ``sharp`` names for the two, or 1. A client without
        entries, as most are in a federation that is larger than its bank, belongs to the circle from which it makes
        more than half of its retrievals, if it has retrieved at least twice and ``sharp`` does not name it.
        """
        if len(self.owners) < 2:
            return []
        power = torch.tensor([sharp.get(name, 1.0) for name in self.owners])
        affinity = self.affinity() ** torch.maximum(power, power.unsqueeze(1))
        distance = squareform((1 - affinity).double().clamp(min=0).numpy(), checks=False)
        labels = fcluster(linkage(distance, "average"), 1 - ALIKE, "distance")
        circle_of = dict(zip(self.owners, labels.tolist(), strict=True))
        followers = self._followers(torch.from_numpy(labels).long() - 1)
        circle_of |= {name: label for name, label in followers.items() if name not in sharp}
        members: dict[int, list[str]] = {}
        for name in self.clients:
            if name in circle_of:
                members.setdefault(circle_of[name], []).append(name)
        return [names for names in members.values() if len(names) > 1]

    def _followers(self, labels: Tensor) -> dict[str, int]:
        owners = set(self.owners)
        rows = [row for row, name in enumerate(self.clients) if name not in owners]
        by_circle = torch.zeros(len(rows), int(labels.max()) + 1).index_add(1, labels, self.retrieved[rows])
        total = by_circle.sum(dim=1)
        most, best = by_circle.max(dim=1)
        sure = (most > total / 2) & (total > 1.5)  # the share of one round is 1 in all
        return {self.clients[row]: int(best[place]) + 1 for place, row in enumerate(rows) if sure[place]}
