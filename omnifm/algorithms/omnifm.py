"""OmniFM: Liu, Wang and Shan, Toward Modality-Robust and Task-Agnostic Federated Learning, CVPR 2026."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

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
from omnifm.algorithms.circle_exchange import circle_kept_apart, expected_change, in_parts, with_change
from omnifm.algorithms.circle_round import CircleRound, CircleState, circle_message
from omnifm.algorithms.circles import CircleSource
from omnifm.algorithms.composition import BuildContext, ComposedAlgorithm
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.kinds import Kind
from omnifm.algorithms.placement import Placement, nearest_circle
from omnifm.algorithms.retrieval_report import RetrievalReport
from omnifm.algorithms.token_collector import TokenCollector
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.data.client_stats import ClientStats
from omnifm.spectral.bank import BankSettings, KnowledgeBank
from omnifm.training.model import FederatedModel
from omnifm.training.trainer import Trainer


@dataclass(frozen=True)
class OmniFMSettings:
    """``[omnifm]`` of an experiment.

    ``base`` names the algorithm whose round this is. Each part of the network has a role: those named by ``circle`` are
    averaged within circles of clients that are alike, those named by ``personal`` stay at the client (also where they
    are within a part of the other kind), all others are averaged over all clients. ``circles`` says who is alike: whom
    the ``bank`` finds, or the declared ``group`` (mostly the modality); ``off``, each client is a circle by itself.
    ``variant = "paper"`` averages all over all clients but the suffix, as the paper does, whatever the others say.
    ``retrieve`` is for controls: from ``all`` entries of the bank, from the client's ``own``, from those of ``others``,
    or from as many ``random`` fixed vectors.
    """

    base: str = "fedavg"
    variant: Literal["circles", "paper"] = "circles"
    circle: tuple[str, ...] = ("backbone",)
    circles: CircleSource = "bank"
    personal: tuple[str, ...] = ("statistics",)
    retrieve: Retrieval = "all"

    def build(self, context: BuildContext) -> OmniFM:
        """Build the algorithm upon its base."""
        base = context.base(self.base, "omnifm.base")
        if self.variant == "paper":
            return OmniFM(base, context.bank, retrieve=self.retrieve)
        return OmniFM(base, context.bank, self.personal, self.circle, self.circles, self.retrieve)


@dataclass(frozen=True)
class OmniFM(ComposedAlgorithm):
    """Another algorithm's round (``base``), and beside it a bank of spectral prototypes.

    Down: the base's broadcast, the bank's tokens, and to a client in a circle that circle's weights. Up: the base's
    upload, the change of the circle's weights, prototypes of the client's spectral tokens, and how often each entry of
    the bank was retrieved.
    Personal: the suffix token, ``at_home``, and what the base or the experiment keep. To the base, the parts
    ``in_circles`` are personal too: they are averaged, and no rule of the base acts on them.
    """

    adapter: ClassVar[bool] = True
    base: Algorithm = field(default_factory=FedAvg)
    bank: BankSettings = field(default_factory=BankSettings)
    at_home: tuple[str, ...] = ()
    circle: tuple[str, ...] = ()
    circles: CircleSource = "off"
    retrieve: Retrieval = "all"

    @property
    def in_circles(self) -> tuple[str, ...]:
        """What the settings name."""
        return self.circle

    @property
    def compares(self) -> bool:
        """As soon as not everything is averaged over all clients: the paper does not."""
        return bool(self.at_home or self.in_circles)

    @property
    def personal(self) -> tuple[str, ...]:
        """What the base keeps at home, and what else the settings name."""
        return (*self.base.personal, *self.at_home)

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start the base, and an empty bank."""
        apart = set(in_parts(shared, self.in_circles))
        common = {name: value for name, value in shared.items() if name not in apart}
        state = super().init(common, [name for name in trainable if name not in apart], clients)
        state = _with_bank(replace(state, notes={**state.notes, "clients": len(clients)}), KnowledgeBank.empty(), {})
        initial = {name: shared[name] for name in shared if name in apart}
        return CircleState.first(initial, clients, self.circles).put_into(state)

    def broadcast(self, state: ServerState) -> Broadcast:
        """Add the bank to what the base sends."""
        sent = super().broadcast(state)
        extra, notes = bank_to_broadcast(state.memory, state.notes, self.retrieve)
        return replace(sent, extra={**sent.extra, **extra}, notes={**sent.notes, **notes})

    def message(self, state: ServerState, client: str) -> Tensors:
        """Send the weights of the client's circle beside what the base sends."""
        return {**super().message(state, client), **circle_message(state, client)}

    def place(self, state: ServerState, model: FederatedModel, images: Tensor) -> Placement:
        """Find the circle whose prototypes the images retrieve; send its weights."""
        if model.adapter is None:
            return Placement()
        bank, circle_of = bank_from_state(state.memory, state.notes), state.notes["circles"]["of"]
        found = nearest_circle(model.adapter, bank, self.bank, circle_of, images)
        return replace(found, message=circle_message(state, found.members[0])) if found.members else found

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Retrieve from the bank that came; load the circle's weights, or without any, the client's own."""
        entries, _ = retrievable(broadcast, trainer.client.name, self.retrieve)
        use_bank(trainer, entries)
        with circle_kept_apart(broadcast, client, trainer, self.in_circles) as inner:
            super().receive(broadcast, inner, trainer)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Let the base train, and add prototypes and retrieval counts to its upload."""
        entries, rows = retrievable(broadcast, trainer.client.name, self.retrieve)
        use_bank(trainer, entries)
        seen = TokenCollector()
        with (
            trainer.with_hooks(seen.hooks),
            circle_kept_apart(broadcast, client, trainer, self.in_circles) as inner,
        ):
            upload, client = super().client_update(broadcast, inner, trainer)
        upload = with_change(upload, broadcast, client)
        return add_bank_upload(upload, make_bank_upload(trainer, seen, broadcast.round, self.bank, rows)), client

    def expected(self, broadcast: Broadcast) -> Mapping[str, Tensor]:
        """Expect an offer beside what the base expects."""
        return {**super().expected(broadcast), **bank_upload_like(broadcast.extra["bank"])}

    def check(self, upload: Upload, broadcast: Broadcast) -> None:
        """Look at the offer too: it must speak of entries that the bank has."""
        super().check(upload, replace(broadcast, shared={**broadcast.shared, **expected_change(broadcast)}))
        check_bank_upload(upload, len(broadcast.extra["bank"]))

    def kinds(self, upload: Upload, trainable: Collection[str]) -> dict[str, Kind]:
        """Tell the prototypes from what the base sends."""
        return super().kinds(upload, trainable) | offer_kinds(upload)

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        """Let the base aggregate the uploads as they pass; then credit, merge and prune the bank."""
        before = bank_from_state(state.memory, state.notes)
        refreshment, report = Refreshment(before, self.bank), RetrievalReport(before, state.notes["clients"])
        circles = CircleRound(CircleState.of(state), before)

        def passing() -> Iterator[Upload]:
            for upload in uploads:
                upload, bank_upload = take_bank_upload(upload)
                refreshment.take(bank_upload)
                report.take(bank_upload)
                yield circles.take(upload, bank_upload)

        state = super().server_update(state, passing(), lambda mean: circles.split(on_mean(mean)))
        after = circles.result(self.circles, self.bank.frequency_decay)
        return after.put_into(_with_bank(state, refreshment.result(), report.result()))


def _with_bank(state: ServerState, bank: KnowledgeBank, report: dict[str, Any]) -> ServerState:
    memory, notes = bank_to_state(bank)
    report = {"bank_entries": len(bank), **report}
    return replace(state, memory={**state.memory, **memory}, notes={**state.notes, **notes, "report": report})
