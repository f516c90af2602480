"""OmniFM: Liu, Wang and Shan, Toward Modality-Robust and Task-Agnostic Federated Learning, CVPR 2026."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from omnifm.algorithms.algorithm import Algorithm, OnMean, unchanged
from omnifm.algorithms.bank_broadcast import (
    Retrieval,
    bank_from_state,
    bank_to_broadcast,
    bank_to_state,
    retrievable,
    use_bank,
)
from omnifm.algorithms.bank_upload import (
    Refreshment,
    add_bank_upload,
    bank_upload_like,
    check_bank_upload,
    make_bank_upload,
    offer_kinds,
    take_bank_upload,
)
from omnifm.algorithms.composition import BuildContext, ComposedAlgorithm
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.kinds import Kind
from omnifm.algorithms.retrieval_report import RetrievalReport
from omnifm.algorithms.token_collector import TokenCollector
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.data.client_stats import ClientStats
from omnifm.spectral.bank import BankSettings, KnowledgeBank
from omnifm.training.trainer import Trainer


@dataclass(frozen=True)
class OmniFMSettings:
    """``[omnifm]`` of an experiment.

    ``base`` names the algorithm whose round this is; ``personal`` the parts of the network that stay at the client. The
    paper shares all but the suffix (``personal = []``). Across modalities that drags every backbone between
    conflicting minima: sharing what images have in common, adapter, head and bank, does better (README, results).
    ``retrieve`` is for controls: from ``all`` entries of the bank, from the client's ``own``, from those of ``others``,
    or from as many ``random`` fixed vectors.
    """

    base: str = "fedavg"
    personal: tuple[str, ...] = ("backbone",)
    retrieve: Retrieval = "all"

    def build(self, context: BuildContext) -> OmniFM:
        """Build the algorithm upon its base."""
        return OmniFM(context.base(self.base, "omnifm.base"), context.bank, self.personal, self.retrieve)


@dataclass(frozen=True)
class OmniFM(ComposedAlgorithm):
    """Another algorithm's round (``base``), and beside it a bank of spectral prototypes.

    Down: the base's broadcast and the bank's tokens. Up: the base's upload, prototypes of the client's spectral
    tokens, and how often each entry of the bank was retrieved.
    Personal: the suffix token, ``at_home``, and what the base or the experiment keep.
    """

    adapter: ClassVar[bool] = True
    base: Algorithm = field(default_factory=FedAvg)
    bank: BankSettings = field(default_factory=BankSettings)
    at_home: tuple[str, ...] = ()
    retrieve: Retrieval = "all"

    @property
    def personal(self) -> tuple[str, ...]:
        """What the base keeps at home, and what else the settings name."""
        return (*self.base.personal, *self.at_home)

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start the base, and an empty bank."""
        state = super().init(shared, trainable, clients)
        return _with_bank(replace(state, notes={**state.notes, "clients": len(clients)}), KnowledgeBank.empty(), {})

    def broadcast(self, state: ServerState) -> Broadcast:
        """Add the bank to what the base sends."""
        sent = super().broadcast(state)
        extra, notes = bank_to_broadcast(state.memory, state.notes, self.retrieve)
        return replace(sent, extra={**sent.extra, **extra}, notes={**sent.notes, **notes})

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Retrieve from the bank that came."""
        entries, _ = retrievable(broadcast, trainer.client.name, self.retrieve)
        use_bank(trainer, entries)
        super().receive(broadcast, client, trainer)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Let the base train, and add prototypes and retrieval counts to its upload."""
        entries, rows = retrievable(broadcast, trainer.client.name, self.retrieve)
        use_bank(trainer, entries)
        seen = TokenCollector()
        with trainer.with_hooks(seen.hooks):
            upload, client = super().client_update(broadcast, client, trainer)
        return add_bank_upload(upload, make_bank_upload(trainer, seen, broadcast.round, self.bank, rows)), client

    def expected(self, broadcast: Broadcast) -> Mapping[str, Tensor]:
        """Expect an offer beside what the base expects."""
        return {**super().expected(broadcast), **bank_upload_like(broadcast.extra["bank"])}

    def check(self, upload: Upload, broadcast: Broadcast) -> None:
        """Look at the offer too: it must speak of entries that the bank has."""
        super().check(upload, broadcast)
        check_bank_upload(upload, len(broadcast.extra["bank"]))

    def kinds(self, upload: Upload, trainable: Collection[str]) -> dict[str, Kind]:
        """Tell the prototypes from what the base sends."""
        return super().kinds(upload, trainable) | offer_kinds(upload)

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        """Let the base aggregate the uploads as they pass; then credit, merge and prune the bank."""
        before = bank_from_state(state.memory, state.notes)
        refreshment, report = Refreshment(before, self.bank), RetrievalReport(before, state.notes["clients"])

        def passing() -> Iterator[Upload]:
            for upload in uploads:
                upload, bank_upload = take_bank_upload(upload)
                refreshment.take(bank_upload)
                report.take(bank_upload)
                yield upload

        state = super().server_update(state, passing(), on_mean)
        return _with_bank(state, refreshment.result(), report.result())


def _with_bank(state: ServerState, bank: KnowledgeBank, report: dict[str, Any]) -> ServerState:
    memory, notes = bank_to_state(bank)
    report = {"bank_entries": len(bank), **report}
    return replace(state, memory={**state.memory, **memory}, notes={**state.notes, **notes, "report": report})
