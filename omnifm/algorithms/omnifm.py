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
from omnifm.utils.errors import ExperimentError
from omnifm.utils.words import joined


@dataclass(frozen=True)
class OmniFMSettings:
    """``[omnifm]`` of an experiment.

    Parts of the network that neither ``circle`` nor ``personal`` names are averaged over all clients.

    Attributes:
        base: the algorithm that OmniFM builds upon.
        variant: ``paper`` averages everything but the suffix over all clients, as in the paper; ``personal``,
            ``circle`` and ``circles`` are then ignored.
        circle: the parts of the network that are averaged within circles of similar clients.
        circles: what forms circles: retrievals from the ``bank``, the declared ``group`` (mostly the modality), or
            ``off``: every client is alone.
        personal: the parts that stay at the client, even inside a part that ``circle`` names.
        retrieve: for controls: from ``all`` entries of the bank, the client's ``own``, those of ``others``, or as many
            ``random`` fixed vectors.
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
        if kinds := {"norm", "statistics"} & {*self.circle}:
            raise ExperimentError(
                f"omnifm.circle = {list(self.circle)}: name parts of the network, such as 'backbone', and not "
                f"{min(kinds)!r}: normalisation goes with the part that it is in."
            )
        if self.variant == "paper":
            return OmniFM(base, context.bank, retrieve=self.retrieve, token_dim=context.token_dim)
        if self.circle and self.circles == "bank" and self.retrieve != "all":
            raise ExperimentError(
                f"omnifm.retrieve = {self.retrieve!r} does not show who is like whom, so the bank finds no circles: "
                "set omnifm.circles = 'group' or 'off' too."
            )
        parts = (self.personal, self.circle, self.circles)
        return OmniFM(base, context.bank, *parts, self.retrieve, context.token_dim)


@dataclass(frozen=True)
class OmniFM(ComposedAlgorithm):
    """Another algorithm (``base``) with a bank of spectral prototypes and circles of similar clients.

    Down: the base's broadcast, the bank's tokens, and to each client the weights of its circle. Up: the base's upload,
    the change of the circle's weights, prototypes of the client's spectral tokens, and how often it retrieved each
    entry of the bank.
    Personal: the suffix token, ``at_home``, and the personal parts of the base and the experiment. To the base, the
    parts ``in_circles`` are personal too: they are averaged, and no rule of the base acts on them.
    """

    adapter: ClassVar[bool] = True
    offers_prototypes: ClassVar[bool] = True
    base: Algorithm = field(default_factory=FedAvg)
    bank: BankSettings = field(default_factory=BankSettings)
    at_home: tuple[str, ...] = ()
    circle: tuple[str, ...] = ()
    circles: CircleSource = "off"
    retrieve: Retrieval = "all"
    token_dim: int = 0

    @property
    def in_circles(self) -> tuple[str, ...]:
        """The parts that the settings name."""
        return self.circle

    @property
    def compares(self) -> bool:
        """Unless everything is averaged over all clients, as in the paper."""
        return bool(self.at_home or self.in_circles)

    @property
    def learned_keys(self) -> bool:
        """As in the paper, where everything is averaged over all clients."""
        return not self.compares

    @property
    def personal(self) -> tuple[str, ...]:
        """The base's personal parts and those that the settings name."""
        return (*self.base.personal, *self.at_home)

    @property
    def needs_uploads(self) -> str:
        """The bank and the circles."""
        return "its bank holds the prototypes of each client, and its circles follow who retrieves whose"

    def caution(self, patients: Mapping[str, int]) -> str:
        """Say where too few clients are large enough for the bank, whose prototypes tell who is like whom."""
        fewest = self.bank.min_cluster
        large = [name for name, count in patients.items() if count >= fewest]
        if not self.in_circles or self.circles != "bank" or len(large) > 1 or len(patients) < 2:
            return ""
        who = f"only {large[0]} has" if large else "no client has"
        return (
            f"Nobody learns with anybody: {who} bank.min_cluster = {fewest} patients for training, and only prototypes "
            f"of so many show who is like whom, so that each client trains its {joined(self.in_circles)} by itself. "
            "Lower bank.min_cluster, or bring more patients."
        )

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Initialise the base, an empty bank and the circles."""
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
        """Add the weights of the client's circle to what the base sends."""
        return {**super().message(state, client), **circle_message(state, client)}

    def place(self, state: ServerState, model: FederatedModel, images: Tensor) -> Placement:
        """Find the circle whose prototypes the images retrieve; return its weights."""
        if model.adapter is None:
            return Placement()
        bank, circle_of = bank_from_state(state.memory, state.notes), state.notes["circles"]["of"]
        nearest = nearest_circle(model.adapter, bank, self.bank, circle_of, images)
        return replace(nearest, message=circle_message(state, nearest.members[0])) if nearest.members else nearest

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Retrieve from the received bank; load the circle's weights, or the client's own if it received none."""
        entries, _ = retrievable(broadcast, trainer.client.name, self.retrieve)
        use_bank(trainer, entries)
        with circle_kept_apart(broadcast, client, trainer, self.in_circles) as inner:
            super().receive(broadcast, inner, trainer)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Let the base train, and add prototypes and retrieval counts to its upload."""
        entries, rows = retrievable(broadcast, trainer.client.name, self.retrieve)
        use_bank(trainer, entries)
        collector = TokenCollector()
        with (
            trainer.with_hooks(collector.hooks),
            circle_kept_apart(broadcast, client, trainer, self.in_circles) as inner,
        ):
            upload, client = super().client_update(broadcast, inner, trainer)
        upload = with_change(upload, broadcast, client)
        return add_bank_upload(upload, make_bank_upload(trainer, collector, broadcast.round, self.bank, rows)), client

    def expected(self, broadcast: Broadcast) -> Mapping[str, Tensor]:
        """Add the bank upload to what the base expects."""
        return {**super().expected(broadcast), **bank_upload_like(broadcast.extra["bank"], self.token_dim)}

    def check(self, upload: Upload, broadcast: Broadcast) -> None:
        """Check the circle's change and the bank upload too; it must refer to existing entries."""
        super().check(upload, replace(broadcast, shared={**broadcast.shared, **expected_change(broadcast)}))
        check_bank_upload(upload, len(broadcast.extra["bank"]), self.bank)

    def kinds(self, upload: Upload, trainable: Collection[str]) -> dict[str, Kind]:
        """Add the kinds of the bank upload's tensors."""
        return super().kinds(upload, trainable) | offer_kinds(upload)

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        """Let the base aggregate the uploads; update the bank and the circles."""
        before = bank_from_state(state.memory, state.notes)
        refreshment, report = Refreshment(before, self.bank), RetrievalReport(before, state.notes["clients"])
        circles = CircleRound(CircleState.of(state), before, state.round + 1)

        def passing() -> Iterator[Upload]:
            for upload in uploads:
                upload, bank_upload = take_bank_upload(upload)
                refreshment.take(bank_upload)
                report.take(bank_upload)
                yield circles.take(upload, bank_upload)

        state = super().server_update(state, passing(), lambda mean: circles.split(on_mean(mean)))
        after = circles.result(self.circles)
        return after.put_into(_with_bank(state, refreshment.result(), report.result()))


def _with_bank(state: ServerState, bank: KnowledgeBank, report: dict[str, Any]) -> ServerState:
    memory, notes = bank_to_state(bank)
    report = {"bank_entries": len(bank), **report}
    return replace(state, memory={**state.memory, **memory}, notes={**state.notes, **notes, "report": report})
