"""The bank on its way: to tensors and back, and the prototypes that a client makes of its last local epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from omnifm.algorithms.state import Tensors
from omnifm.randomness import generator
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes
from omnifm.spectral.prototypes import spherical_k_means
from omnifm.training import Trainer

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


def drift(bank: KnowledgeBank, new: Prototypes) -> float | None:
    """Mean cosine distance of a client's new prototypes from the nearest of its own in the bank; None without any."""
    own = [i for i, client in enumerate(bank.clients) if client == new.client]
    if not own or not len(new.tokens):
        return None
    return float(1 - (new.tokens @ bank.tokens[torch.tensor(own)].T).amax(dim=1).mean())
