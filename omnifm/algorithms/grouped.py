"""Grouped: FedAvg within declared groups. The baseline that is told who is alike, which nobody can be sure of."""

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
    """FedAvg (McMahan et al., AISTATS 2017) in each declared group of clients (mostly the modality) by itself.

    No parameters. All that is not personal is averaged within the group. Down: nothing to all, and to each client the
    weights of its own group; up: their change. A client that is alone in its group keeps its own weights, and
    nothing of them travels.
    """

    @property
    def in_circles(self) -> tuple[str, ...]:
        """All of the network."""
        return ("everything",)

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start each group from the same weights."""
        return CircleState.first(shared, clients, "group").put_into(super().init({}, (), clients))

    def message(self, state: ServerState, client: str) -> Tensors:
        """Send a client the weights of its group."""
        return circle_message(state, client)

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Load the group's weights, or without any, the client's own."""
        with circle_kept_apart(broadcast, client, trainer, self.in_circles) as inner:
            super().receive(broadcast, inner, trainer)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Train, and report the change of the group's weights."""
        with circle_kept_apart(broadcast, client, trainer, self.in_circles) as inner:
            upload, after = super().client_update(broadcast, inner, trainer)
        return with_change(upload, broadcast, after), after

    def check(self, upload: Upload, broadcast: Broadcast) -> None:
        """Allow the change of what the client was sent, and no other."""
        super().check(upload, replace(broadcast, shared=expected_change(broadcast)))

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        """Move each group by the mean of its members."""
        groups = CircleState.of(state)
        _, mean = split_mean(on_mean(self.aggregate(map(groups.addressed, uploads))))
        return groups.moved(mean).put_into(replace(state, round=state.round + 1))
