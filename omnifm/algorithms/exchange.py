"""The bank on its way down: to tensors and back, and what a client may retrieve from."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.algorithms.state import Broadcast
from omnifm.randomness import numpy_generator
from omnifm.spectral.bank import KnowledgeBank
from omnifm.tensors import Tensors

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
