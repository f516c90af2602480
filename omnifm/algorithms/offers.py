"""The prototypes on their way up: what a client offers to the bank, and how the bank takes it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from omnifm.algorithms.state import Upload
from omnifm.randomness import generator
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes
from omnifm.spectral.prototypes import spherical_k_means
from omnifm.tensors import named, under
from omnifm.training import Trainer


class Offer(NamedTuple):
    """A client's prototypes, and how often it retrieved each entry ``(bank entries,)`` of the bank that it got."""

    prototypes: Prototypes
    retrieved: Tensor


def make_prototypes(trainer: Trainer, round_number: int, settings: BankSettings) -> Prototypes:
    """Condense the spectral tokens of the trainer's last epoch into prototypes."""
    client, fit = trainer.client, trainer.last_fit
    assert fit is not None
    assert fit.spectral is not None, "only a network with an adapter makes prototypes"
    stream = generator(trainer.seed, client.name, round_number, "prototypes")
    tokens, sizes = spherical_k_means(fit.spectral, settings.prototypes, stream, settings.min_cluster)
    return Prototypes(client.name, client.group, tokens, sizes)


def add_offer(upload: Upload, offer: Offer) -> Upload:
    """Put an offer into an upload."""
    new, retrieved = offer
    extra = named("bank", {"prototypes": new.tokens, "sizes": new.sizes, "retrieved": retrieved})
    return replace(upload, extra={**upload.extra, **extra}, notes={**upload.notes, "group": new.group})


def take_offer(upload: Upload) -> tuple[Upload, Offer]:
    """Undo :func:`add_offer`."""
    extra = under("bank", upload.extra)
    new = Prototypes(upload.client, upload.notes["group"], extra["prototypes"], extra["sizes"])
    others = {name: value for name, value in upload.extra.items() if name not in named("bank", extra)}
    return replace(upload, extra=others), Offer(new, extra["retrieved"])


def refreshed(bank: KnowledgeBank, offers: Sequence[Offer], settings: BankSettings) -> KnowledgeBank:
    """Let a round pass: entries age, are credited with their retrievals, and meet what is offered; then prune."""
    bank = bank.grow_older(settings.frequency_decay)
    for offer in offers:
        bank = bank.credit(offer.retrieved)
    for offer in offers:
        bank = bank.merge(offer.prototypes, settings.merge_above)
    return bank.prune(settings)


def drift(bank: KnowledgeBank, new: Prototypes) -> float | None:
    """Mean cosine distance of a client's new prototypes from the nearest of its own in the bank; None without any."""
    own = [i for i, client in enumerate(bank.clients) if client == new.client]
    if not own or not len(new.tokens):
        return None
    return float(1 - (new.tokens @ bank.tokens[torch.tensor(own)].T).amax(dim=1).mean())


def round_report(bank: KnowledgeBank, offers: Sequence[Offer]) -> dict[str, Any]:
    """Who retrieved whose prototypes in this round, and how far each client's own have drifted."""
    retrieved: dict[str, dict[str, int]] = {}
    for new, counts in offers:
        row = retrieved.setdefault(new.client, {})
        for owner, count in zip(bank.clients, counts.tolist(), strict=True):
            row[owner] = row.get(owner, 0) + count
    drifts = {new.client: drift(bank, new) for new, _ in offers}
    return {"retrieved": retrieved, "drift": {name: d for name, d in drifts.items() if d is not None}}
