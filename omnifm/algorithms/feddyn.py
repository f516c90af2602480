"""FedDyn: Acar et al., Federated Learning Based on Dynamic Regularization, ICLR 2021."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.gradients import pull, shift
from omnifm.algorithms.server_optimizer import optimised, stepping, with_memory, zeros
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix
from omnifm.data.client_stats import ClientStats
from omnifm.tasks.task import TaskNetwork
from omnifm.training.hooks import LocalTraining
from omnifm.training.trainer import Trainer
from omnifm.utils.settings import Positive


@dataclass(frozen=True)
class FedDyn(Algorithm):
    """Each client's loss is corrected so that all clients agree where the federation converges.

    Client: loss ``f(w) - <h_i, w> + (alpha / 2) ||w - x||^2``; then ``h_i <- h_i - alpha (y_i - x)``.
    Server: ``h <- h - (alpha / N) sum(y_i - x)``, ``x <- mean(y_i) - h / alpha``, both over the clients that answered,
    with equal weights; N counts all clients. At first h = h_i = 0.
    No part of the network is personal; h_i stays at the client. The weights travel both ways, h stays at the server.

    Attributes:
        alpha: the strength of the correction; no value gives FedAvg.
    """

    alpha: Positive = 0.01

    @property
    def needs_mean(self) -> bool:
        """The server's h is the mean of all h_i."""
        return True

    @property
    def fixed_start(self) -> bool:
        """Else the clients' h_i and the server's h would be of different changes."""
        return True

    def remark(self, network: TaskNetwork) -> str:
        """Name what differs from the settings."""
        return "without acceptance: its rule starts from what was received"

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start with h = 0."""
        state = replace(super().init(shared, trainable, clients), notes={"clients": len(clients)})
        return with_memory(state, h=zeros(shared, trainable))

    def local_training(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> LocalTraining:
        """Correct the gradient by ``-h_i + alpha (w - x)``."""
        to_start = pull(self.alpha, broadcast.shared, trainer)
        along = shift({name: -h for name, h in strip_prefix("h", client.memory).items()}, trainer)

        def hook(weights: Tensors, gradients: Tensors) -> None:
            to_start(weights, gradients)
            along(weights, gradients)

        return LocalTraining(gradient_hook=hook)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Update h_i."""
        upload, after = super().client_update(broadcast, client, trainer)
        old = strip_prefix("h", client.memory)
        change = {name: upload.change[name] for name in trainer.trainable if name in upload.change}
        new = {name: old.get(name, torch.zeros_like(d)) - self.alpha * d for name, d in change.items()}
        return upload, replace(after, memory=add_prefix("h", new))

    def weight(self, upload: Upload) -> float:
        """Give every client the same weight."""
        return 1.0

    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        """Update h and x."""
        change, (h,) = optimised(state, mean, "h")
        share = mean.clients / state.notes["clients"]
        h = {name: value - self.alpha * share * change[name] for name, value in h.items()}
        step = {name: d - h[name] / self.alpha for name, d in change.items()}
        return with_memory(super().server_step(state, stepping(mean, step)), h=h)
