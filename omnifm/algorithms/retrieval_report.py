"""What a round's report says of the bank: who retrieved whose prototypes, and how far they have drifted."""

from __future__ import annotations

from typing import Any

import torch

from omnifm.algorithms.bank_upload import BankUpload
from omnifm.spectral.bank import KnowledgeBank, Prototypes

MOST_NAMED = 64
"""In a federation of more clients, retrievals are told by group: the log must not grow with clients squared."""


class RetrievalReport:
    """Counts the retrievals of a round as the offers come.

    Args:
        bank: what the clients retrieved from.
        clients: how many clients there are in the federation.
    """

    def __init__(self, bank: KnowledgeBank, clients: int) -> None:
        self._bank, self._by_group = bank, clients > MOST_NAMED
        self._retrieved: dict[str, dict[str, int]] = {}
        self._drift: dict[str, float] = {}

    def take(self, bank_upload: BankUpload) -> None:
        """Take in one client's offer."""
        new = bank_upload.prototypes
        owners = self._bank.groups if self._by_group else self._bank.clients
        counts = torch.bincount(owners.codes[bank_upload.rows], bank_upload.counts, minlength=len(owners.names))
        row = self._retrieved.setdefault(new.group if self._by_group else new.client, {})
        for code in counts.nonzero().flatten().tolist():
            row[owners.names[code]] = row.get(owners.names[code], 0) + int(counts[code])
        distance = drift(self._bank, new)
        if distance is not None:
            self._drift[new.client] = distance

    def result(self) -> dict[str, Any]:
        """Return the counts that are not 0, ``{reader: {owner: count}}``, and the drift of each client."""
        return {"retrieved": self._retrieved, "drift": self._drift}


def drift(bank: KnowledgeBank, new: Prototypes) -> float | None:
    """Mean cosine distance of a client's new prototypes from the nearest of its own in the bank; None without any."""
    own = bank.clients.rows_of(new.client)
    if not len(own) or not len(new.tokens):
        return None
    return float(1 - (new.tokens @ bank.tokens[own].T).amax(dim=1).mean())
