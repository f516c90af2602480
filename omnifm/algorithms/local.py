"""Local: every client trains alone. The baseline that matters to a hospital: what does it gain by joining?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.bank_broadcast import bank_from_state, bank_to_state, use_bank
from omnifm.algorithms.bank_upload import Refreshment, make_bank_upload
from omnifm.algorithms.composition import BuildContext
from omnifm.algorithms.token_collector import TokenCollector
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.spectral.bank import BankSettings, KnowledgeBank
from omnifm.training.trainer import Trainer


@dataclass(frozen=True)
class LocalSettings:
    """``[local]`` of an experiment: nothing to set."""

    def build(self, context: BuildContext) -> Local:
        """Build the algorithm."""
        return Local(context.bank)


@dataclass(frozen=True)
class Local(Algorithm):
    """Everything is personal, nothing travels.

    With ``adapter.use = "on"`` this is OmniFM's network trained alone: each client keeps a bank of its own prototypes,
    by the same rules as the federation's.
    """

    private_reason: ClassVar[str] = ""
    offers_prototypes: ClassVar[bool] = True
    personal: ClassVar[tuple[str, ...]] = ("everything",)
    bank: BankSettings = field(default_factory=BankSettings)

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Retrieve from the client's own bank."""
        super().receive(broadcast, client, trainer)
        use_bank(trainer, client.memory.get("bank.tokens"))

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Train, and update the client's own bank if the network has an adapter."""
        collector = TokenCollector()
        with trainer.with_hooks(collector.hooks):
            upload, after = super().client_update(broadcast, client, trainer)
        if trainer.model.adapter is None:
            return upload, after
        bank = bank_from_state(client.memory, client.notes) if client.memory else KnowledgeBank.empty()
        refreshment = Refreshment(bank, self.bank)
        refreshment.take(make_bank_upload(trainer, collector, broadcast.round, self.bank))
        memory, notes = bank_to_state(refreshment.result())
        return upload, replace(after, memory=memory, notes=notes)
