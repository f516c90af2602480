"""The bank on its way: to tensors and back, and the prototypes that a client makes of its last local epoch."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.algorithms.state import Broadcast, Tensors
from omnifm.randomness import generator, numpy_generator
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes
from omnifm.spectral.prototypes import spherical_k_means
from omnifm.training import Trainer

Retrieval = Literal["all", "own", "others", "random"]
"""Which entries of the bank a client retrieves from; all but the first are controls."""

_COLUMNS = ("tokens", "sizes", "frequency", "age")


def bank_to_state(bank: KnowledgeBank) -> tuple[Tensors, dict[str, Any]]:
    """Return the bank as tensors and JSON, for the memory and the notes of a state."""
    return (
        {f"bank.{column}": getattr(bank, column) for column in _COLUMNS},
        {"bank": {"clients": list(bank.clients), "groups": list(bank.groups)}},
    )


def bank_from_state(memory: Tensors, notes: dict[str, Any]) -> KnowledgeBank:
    """Undo :func:`bank_to_state`."""
    columns: dict[str, Tensor] = {column: memory[f"bank.{column}"] for column in _COLUMNS}
    return KnowledgeBank(**columns, clients=tuple(notes["bank"]["clients"]), groups=tuple(notes["bank"]["groups"]))


def make_prototypes(trainer: Trainer, round_number: int, settings: BankSettings) -> Prototypes:
    """Condense the spectral tokens of the trainer's last epoch into prototypes."""
    client, fit = trainer.client, trainer.last_fit
    assert fit is not None
    assert fit.spectral is not None, "only a network with an adapter makes prototypes"
    stream = generator(trainer.seed, client.name, round_number, "prototypes")
    tokens, sizes = spherical_k_means(fit.spectral, settings.prototypes, stream, settings.min_cluster)
    return Prototypes(client.name, client.group, tokens, sizes)


def retrievable(broadcast: Broadcast, client: str, retrieval: Retrieval) -> tuple[Tensor, Tensor]:
    """Return the entries ``(m, dim)`` that a client retrieves from, and their rows ``(m,)`` in the bank."""
    entries = broadcast.extra["bank"]
    rows = torch.arange(len(entries))
    if retrieval == "random":
        return _random_directions(entries), rows
    if retrieval in ("own", "others"):
        own = torch.tensor([owner == client for owner in broadcast.notes["owners"]], dtype=torch.bool)
        rows = rows[own if retrieval == "own" else ~own]
    return entries[rows], rows


def _random_directions(like: Tensor) -> Tensor:
    """Return unit vectors of this shape, the same for all clients in every round."""
    drawn = numpy_generator(0, "random prototypes").standard_normal(like.shape)
    return F.normalize(torch.from_numpy(drawn).to(like), dim=1)


def drift(bank: KnowledgeBank, new: Prototypes) -> float | None:
    """Mean cosine distance of a client's new prototypes from the nearest of its own in the bank; None without any."""
    own = [i for i, client in enumerate(bank.clients) if client == new.client]
    if not own or not len(new.tokens):
        return None
    return float(1 - (new.tokens @ bank.tokens[torch.tensor(own)].T).amax(dim=1).mean())


def round_report(bank: KnowledgeBank, offers: list[tuple[Prototypes, torch.Tensor]]) -> dict[str, Any]:
    """Who retrieved whose prototypes in this round, and how far each client's own have drifted."""
    retrieved: dict[str, dict[str, int]] = {}
    for new, counts in offers:
        row = retrieved.setdefault(new.client, {})
        for owner, count in zip(bank.clients, counts.tolist(), strict=True):
            row[owner] = row.get(owner, 0) + count
    drifts = {new.client: drift(bank, new) for new, _ in offers}
    return {"retrieved": retrieved, "drift": {name: d for name, d in drifts.items() if d is not None}}
