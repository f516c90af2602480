"""Who is like whom: how often clients retrieve each other's prototypes, compared with their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from omnifm.spectral.bank import KnowledgeBank

ALIKE = 1 / 3
"""The affinity from which two clients are alike: each retrieves the other's prototypes a third as often as its own."""


class Retrievals(NamedTuple):
    """The ``rows`` ``(m,)`` of the bank that a client retrieved in a round, and how often each: ``counts`` ``(m,)``."""

    client: str
    rows: Tensor
    counts: Tensor


@dataclass(frozen=True)
class RetrievalEvidence:
    """How often each client retrieved each owner's prototypes, and how often chance would have.

    ``clients`` are all clients of the federation, ``owners`` those with entries in the bank. ``retrieved`` and
    ``expected`` ``(clients, owners)`` float32 hold shares of a client's retrievals, summed over all its rounds. The
    first rounds count as much as the last, since training can bring the tokens of different modalities nearer to each
    other. An owner without entries is forgotten, so that the tables are no wider than the bank is long. Chance
    retrieves an owner in proportion to its entries. Where ``expected`` is 0, the client has not yet met the owner.
    """

    clients: tuple[str, ...]
    owners: tuple[str, ...]
    retrieved: Tensor
    expected: Tensor

    @classmethod
    def none(cls, clients: Sequence[str]) -> RetrievalEvidence:
        """Return the evidence before the first round."""
        empty = torch.zeros(len(clients), 0)
        return cls(tuple(clients), (), empty, empty)

    def with_round(self, bank: KnowledgeBank, seen: Iterable[Retrievals]) -> RetrievalEvidence:
        """Return the evidence after a round in which clients retrieved from ``bank``; unknown clients are ignored."""
        owners = bank.clients.names
        retrieved, expected = self._aligned(self.retrieved, owners), self._aligned(self.expected, owners)
        row_of = {name: row for row, name in enumerate(self.clients)}
        entries = torch.bincount(bank.clients.codes, minlength=len(owners)).float()
        for client, rows, times in seen:
            row = row_of.get(client)
            if row is None or not int(times.sum()):
                continue
            counts = torch.bincount(bank.clients.codes[rows], times, minlength=len(owners)).float()
            retrieved[row] += counts / counts.sum()
            expected[row] += entries / entries.sum()
        return RetrievalEvidence(self.clients, owners, retrieved, expected)

    def _aligned(self, table: Tensor, owners: Sequence[str]) -> Tensor:
        """Return the table with a column for each of the owners, zeros for new ones."""
        column_of = {name: column for column, name in enumerate(self.owners)}
        aligned = table.new_zeros(len(self.clients), len(owners))
        known = [(new, column_of[name]) for new, name in enumerate(owners) if name in column_of]
        if known:
            new, old = (list(columns) for columns in zip(*known, strict=True))
            aligned[:, new] = table[:, old]
        return aligned

    @cached_property
    def affinity(self) -> Tensor:
        """How alike the owners are: ``(owners, owners)``, symmetric, 0 to 1, with a diagonal of ones.

        In each direction, it is how often one client retrieves the other's prototypes for each time that it retrieves
        its own, both relative to chance and capped at 1. The affinity is the geometric mean of the two directions, or
        the one that is known, or 0 if neither is.
        """
        row_of = {name: row for row, name in enumerate(self.clients)}
        rows = torch.tensor([row_of.get(name, -1) for name in self.owners], dtype=torch.int64)
        lift = self.retrieved[rows] / self.expected[rows]  # NaN where nothing is known
        lift[rows < 0] = torch.nan
        own = lift.diagonal().unsqueeze(1)
        ratio = torch.where(own > 0, lift / own, torch.nan).clamp(max=1.0)
        ratio = torch.where(ratio.isfinite(), ratio, torch.nan)
        both = (ratio * ratio.T).sqrt()
        either = torch.where(ratio.isnan(), ratio.T, ratio)
        return torch.where(both.isnan(), either, both).nan_to_num(0.0).fill_diagonal_(1.0)

    def mean_affinity(self, members: Sequence[str]) -> dict[str, float]:
        """Return each member's mean affinity to the others; a member without entries, or the only one, is left out."""
        row_of = {name: row for row, name in enumerate(self.owners)}
        known = [name for name in members if name in row_of]
        if len(known) < 2:
            return {}
        rows, means = torch.tensor([row_of[name] for name in known]), {}
        for place, name in enumerate(known):
            others: list[float] = self.affinity[rows[place], rows].tolist()
            del others[place]
            means[name] = sum(others) / len(others)
        return means

    def groups(self, sharp: Mapping[str, float]) -> list[list[str]]:
        """Return the circles of two or more clients: average linkage over the affinity, cut at :data:`ALIKE`.

        The affinity of a pair is raised to the larger of their powers in ``sharp`` (1 for clients not in it). A client
        without entries (most of them, if the federation is larger than the bank) joins the circle that more than half
        of its retrievals come from, if it has retrieved in at least two rounds and is not in ``sharp``.
        """
        if len(self.owners) < 2:
            return []
        power = torch.tensor([sharp.get(name, 1.0) for name in self.owners])
        affinity = self.affinity ** torch.maximum(power, power.unsqueeze(1))
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
        """Return the circle, numbered from 1, of clients without entries; ``labels`` ``(owners,)`` count from 0."""
        owners = set(self.owners)
        rows = [row for row, name in enumerate(self.clients) if name not in owners]
        by_circle = torch.zeros(len(rows), int(labels.max()) + 1).index_add(1, labels, self.retrieved[rows])
        total = by_circle.sum(dim=1)
        most, best = by_circle.max(dim=1)
        sure = (most > total / 2) & (total > 1.5)  # each round adds 1
        return {self.clients[row]: int(best[place]) + 1 for place, row in enumerate(rows) if sure[place]}
