"""The bank on its way to the clients: as tensors, and the entries that a client may retrieve from."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.core.records import Broadcast
from omnifm.core.tensors import Tensors
from omnifm.spectral.adapter import SpectralAdapter
from omnifm.spectral.bank import KnowledgeBank
from omnifm.spectral.categorical import Categorical
from omnifm.training.trainer import Trainer
from omnifm.utils.seeding import numpy_generator

Retrieval = Literal["all", "own", "others", "random"]
"""The entries of the bank that a client retrieves from; all but the first are controls."""

_COLUMNS = ("tokens", "sizes", "frequency", "age")
_LABELS = ("clients", "groups")


def bank_to_state(bank: KnowledgeBank) -> tuple[Tensors, dict[str, Any]]:
    """Return the bank as tensors and JSON, for the memory and the notes of a state.

    An entry's client and group are codes in the tensors; the notes hold the names.
    """
    columns = {f"bank.{column}": getattr(bank, column) for column in _COLUMNS}
    labels = {f"bank.{column}": getattr(bank, column).codes for column in _LABELS}
    return columns | labels, {"bank": {column: list(getattr(bank, column).names) for column in _LABELS}}


def bank_from_state(memory: Tensors, notes: dict[str, Any]) -> KnowledgeBank:
    """Undo :func:`bank_to_state`."""
    clients, groups = (Categorical(memory[f"bank.{column}"], tuple(notes["bank"][column])) for column in _LABELS)
    tokens, sizes, frequency, age = (memory[f"bank.{column}"] for column in _COLUMNS)
    return KnowledgeBank(tokens, sizes, frequency, age, clients, groups)


def bank_to_broadcast(memory: Tensors, notes: dict[str, Any], retrieval: Retrieval) -> tuple[Tensors, dict[str, Any]]:
    """Return what clients receive: the bank's tokens and, if ``retrieval`` depends on them, their owners."""
    tokens = {"bank": memory["bank.tokens"]}
    if retrieval not in ("own", "others"):
        return tokens, {}
    return tokens | {"owners": memory["bank.clients"]}, {"owners": notes["bank"]["clients"]}


def retrievable(broadcast: Broadcast, client: str, retrieval: Retrieval) -> tuple[Tensor, Tensor]:
    """Return the entries ``(m, dim)`` that a client retrieves from, and their rows ``(m,)`` in the bank."""
    entries = broadcast.extra["bank"]
    rows = torch.arange(len(entries))
    if retrieval == "all":
        return entries, rows
    if retrieval == "random":
        return _random_directions(entries), rows
    own = Categorical(broadcast.extra["owners"], tuple(broadcast.notes["owners"])).rows_of(client)
    rows = own if retrieval == "own" else rows[~torch.isin(rows, own)]
    return entries[rows], rows


def use_bank(trainer: Trainer, entries: Tensor | None) -> None:
    """Let the client's adapter, if it has one, retrieve from ``entries`` ``(n, token_dim)``, or from none."""
    for adapter in trainer.modules(SpectralAdapter):
        adapter.use_bank(entries)


def _random_directions(like: Tensor) -> Tensor:
    """Return unit vectors of the shape of ``like``, the same for all clients in every round."""
    vectors = numpy_generator(0, "random prototypes").standard_normal(like.shape)
    return F.normalize(torch.from_numpy(vectors).to(like), dim=1)
