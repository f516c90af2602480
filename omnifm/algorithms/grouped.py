"""Grouped: FedAvg within declared groups, a baseline that knows who is alike. In practice nobody knows for sure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from omnifm.algorithms.algorithm import Algorithm, OnMean, unchanged
from omnifm.algorithms.circle_exchange import circle_kept_apart, expected_change, with_change
from omnifm.algorithms.circle_round import CircleState, circle_message
from omnifm.algorithms.circle_weights import split_mean
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.data.client_stats import ClientStats
from omnifm.training.trainer import Trainer


@dataclass(frozen=True)
class Grouped(Algorithm):
    """FedAvg (McMahan et al., AISTATS 2017) in each declared group of clients (mostly the modality) separately.

    No parameters. Everything that is not personal is averaged within the group. Down: to each client the weights of its
    own group; up: their change. A client that is alone in its group keeps its own weights, and none of them travel.
    """

    @property
    def in_circles(self) -> tuple[str, ...]:
        """The whole network."""
        return ("everything",)

    @property
    def needs_uploads(self) -> str:
        """Each group has a mean of its own."""
        return "it averages within groups, and a secure sum is over all clients"

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start each group from the same weights."""
        return CircleState.first(shared, clients, "group").put_into(super().init({}, (), clients))

    def message(self, state: ServerState, client: str) -> Tensors:
        """Send a client the weights of its group."""
        return circle_message(state, client)

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Load the group's weights, or the client's own if it received none."""
        with circle_kept_apart(broadcast, client, trainer, self.in_circles) as inner:
            super().receive(broadcast, inner, trainer)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Train, and report the change of the group's weights."""
        with circle_kept_apart(broadcast, client, trainer, self.in_circles) as inner:
            upload, after = super().client_update(broadcast, inner, trainer)
        return with_change(upload, broadcast, after), after

    def check(self, upload: Upload, broadcast: Broadcast) -> None:
        """Expect the change of what the client received, and no other."""
        super().check(upload, replace(broadcast, shared=expected_change(broadcast)))

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        """Move each group by the mean of its members."""
        groups = CircleState.of(state)
        _, mean = split_mean(on_mean(self.aggregate(map(groups.addressed, uploads))))
        return groups.moved(mean).put_into(replace(state, round=state.round + 1))
