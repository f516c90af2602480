"""The bank in a round's report: who retrieved whose prototypes, and how far prototypes drifted."""

from __future__ import annotations

from typing import Any

import torch

from omnifm.algorithms.bank_upload import BankUpload
from omnifm.spectral.bank import KnowledgeBank, Prototypes

MOST_NAMED = 64
"""In a federation of more clients, retrievals are reported by group, so that the log does not grow quadratically."""


class RetrievalReport:
    """Counts the retrievals of a round.

    Args:
        bank: the bank that the clients retrieved from.
        clients: the number of clients in the federation.
    """

    def __init__(self, bank: KnowledgeBank, clients: int) -> None:
        self._bank, self._by_group = bank, clients > MOST_NAMED
        self._retrieved: dict[str, dict[str, int]] = {}
        self._drift: dict[str, float] = {}

    def take(self, bank_upload: BankUpload) -> None:
        """Take one client's bank upload."""
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
        """Return the nonzero counts, ``{reader: {owner: count}}``, and the drift of each client."""
        return {"retrieved": self._retrieved, "drift": self._drift}


def drift(bank: KnowledgeBank, new: Prototypes) -> float | None:
    """Return the mean cosine distance of a client's prototypes from its nearest in the bank; None if there are none."""
    own = bank.clients.rows_of(new.client)
    if not len(own) or not len(new.tokens):
        return None
    return float(1 - (new.tokens @ bank.tokens[own].T).amax(dim=1).mean())
