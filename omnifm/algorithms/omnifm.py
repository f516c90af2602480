"""OmniFM: Liu, Wang and Shan, Toward Modality-Robust and Task-Agnostic Federated Learning, CVPR 2026."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.exchange import bank_from_state, bank_to_state, drift, make_prototypes
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.state import Broadcast, ClientState, ServerState, Tensors, Upload
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes
from omnifm.training import Trainer


@dataclass(frozen=True)
class OmniFMSettings:
    """``[omnifm]`` of an experiment.

    ``base`` names the algorithm whose round this is; ``personal`` the parts of the network that stay at the client. The
    paper shares all but the suffix (``personal = []``). Across modalities that drags every backbone between
    conflicting minima: sharing what images have in common, adapter, head and bank, does better (README, results).
    """

    base: str = "fedavg"
    personal: tuple[str, ...] = ("backbone",)


@dataclass(frozen=True)
class OmniFM(Algorithm):
    """Another algorithm's round (``base``), and beside it a bank of spectral prototypes.

    Down: the base's broadcast and the bank's tokens. Up: the base's upload, prototypes of the client's spectral
    tokens, and how often each entry of the bank was retrieved.
    Personal: the suffix token, ``at_home``, and what the base or the experiment keep.
    """

    adapter: ClassVar[bool] = True
    base: Algorithm = field(default_factory=FedAvg)
    bank: BankSettings = field(default_factory=BankSettings)
    at_home: tuple[str, ...] = ()

    @property
    def personal(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the base keeps at home, and what else the settings name."""
        return (*self.base.personal, *self.at_home)

    def init(self, shared: Tensors) -> ServerState:
        """Start the base, and an empty bank."""
        return _with_bank(self.base.init(shared), KnowledgeBank.empty(), {})

    def broadcast(self, state: ServerState) -> Broadcast:
        """Add the bank's tokens to what the base sends."""
        sent = self.base.broadcast(state)
        return replace(sent, extra={**sent.extra, "bank": state.memory["bank.tokens"]})

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Retrieve from the bank that came."""
        trainer.use_bank(broadcast.extra["bank"])
        self.base.receive(broadcast, client, trainer)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Let the base train, and add prototypes and retrieval counts to its upload."""
        trainer.use_bank(broadcast.extra["bank"])
        upload, client = self.base.client_update(broadcast, client, trainer)
        new = make_prototypes(trainer, broadcast.round, self.bank)
        assert trainer.last_fit is not None
        assert trainer.last_fit.retrieved is not None
        extra = {"prototypes": new.tokens, "sizes": new.sizes, "retrieved": trainer.last_fit.retrieved}
        notes = {**upload.notes, "group": new.group}
        return replace(upload, extra={**upload.extra, **extra}, notes=notes), client

    def server_update(self, state: ServerState, uploads: Iterable[Upload]) -> ServerState:
        """Let the base aggregate the uploads as they pass; then credit, merge and prune the bank."""
        before = bank_from_state(state.memory, state.notes)
        offers: list[tuple[Prototypes, torch.Tensor]] = []

        def passing() -> Iterator[Upload]:
            for upload in uploads:
                extra = upload.extra
                new = Prototypes(upload.client, upload.notes["group"], extra["prototypes"], extra["sizes"])
                offers.append((new, extra["retrieved"]))
                yield upload

        state = self.base.server_update(state, passing())
        bank = before.grow_older(self.bank.frequency_decay)
        for _, retrieved in offers:
            bank = bank.credit(retrieved)
        for new, _ in offers:
            bank = bank.merge(new, self.bank.merge_above)
        return _with_bank(state, bank.prune(self.bank), _report(before, offers))


def _with_bank(state: ServerState, bank: KnowledgeBank, report: dict[str, Any]) -> ServerState:
    memory, notes = bank_to_state(bank)
    report = {"bank_entries": len(bank), **report}
    return replace(state, memory={**state.memory, **memory}, notes={**state.notes, **notes, "report": report})


def _report(bank: KnowledgeBank, offers: list[tuple[Prototypes, torch.Tensor]]) -> dict[str, Any]:
    """Who retrieved whose prototypes in this round, and how far each client's own have drifted."""
    retrieved: dict[str, dict[str, int]] = {}
    for new, counts in offers:
        row = retrieved.setdefault(new.client, {})
        for owner, count in zip(bank.clients, counts.tolist(), strict=True):
            row[owner] = row.get(owner, 0) + count
    drifts = {new.client: drift(bank, new) for new, _ in offers}
    return {"retrieved": retrieved, "drift": {name: d for name, d in drifts.items() if d is not None}}
