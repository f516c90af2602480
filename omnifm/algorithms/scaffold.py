"""SCAFFOLD: Karimireddy et al., Stochastic Controlled Averaging for Federated Learning, ICML 2020 (option II)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.gradients import shift
from omnifm.algorithms.server_optimizer import optimised, stepping, with_memory, zeros
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix
from omnifm.data.client_stats import ClientStats
from omnifm.tasks.task import TaskNetwork
from omnifm.training.hooks import LocalTraining
from omnifm.training.trainer import Trainer
from omnifm.utils.settings import Positive


@dataclass(frozen=True)
class Scaffold(Algorithm):
    """Control variates c (server) and c_i (client) correct the drift of a client's steps.

    Client, K plain SGD steps: ``y <- y - lr (g - c_i + c)``; then ``c_i+ = c_i - c + (x - y) / (K lr)``.
    Server: ``x <- x + eta mean(y_i - x)``, ``c <- c + (1 / N) sum(c_i+ - c_i)``, both over the clients that answered,
    with equal weights; N counts all clients. At first c = c_i = 0. ``[training]`` counts without its momentum.
    No part of the network is personal; c_i stays at the client. Weights and control variates travel both ways.

    Attributes:
        eta: the server's step size.
    """

    eta: Positive = 1.0

    @property
    def plain_sgd(self) -> bool:
        """With momentum, (x - y) / (K lr) would not be a mean of gradients."""
        return True

    @property
    def needs_mean(self) -> bool:
        """C is the mean of all c_i."""
        return True

    def remark(self, network: TaskNetwork) -> str:
        """Name what differs from the settings."""
        return "plain SGD, without the momentum of the others"

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start with c = 0."""
        state = replace(super().init(shared, trainable, clients), notes={"clients": len(clients)})
        return with_memory(state, control=zeros(shared, trainable))

    def broadcast(self, state: ServerState) -> Broadcast:
        """Add c."""
        return replace(super().broadcast(state), extra=add_prefix("control", strip_prefix("control", state.memory)))

    def local_training(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> LocalTraining:
        """Correct the gradient by ``c - c_i``."""
        common, own = _controls(broadcast, client)
        return LocalTraining(gradient_hook=shift({name: c - own[name] for name, c in common.items()}, trainer))

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Update c_i and send its change too."""
        upload, after = super().client_update(broadcast, client, trainer)
        assert trainer.last_fit is not None
        reach = trainer.last_fit.steps * trainer.learning_rate
        common, own = _controls(broadcast, client)
        new = {name: own[name] - c - upload.change[name] / reach for name, c in common.items()}
        change = add_prefix("control", {name: value - own[name] for name, value in new.items()})
        return replace(upload, extra=change), replace(after, memory=add_prefix("control", new))

    def expected(self, broadcast: Broadcast) -> Mapping[str, Tensor]:
        """Expect a change of c_i for every control variate."""
        return add_prefix("control", strip_prefix("control", broadcast.extra))

    def weight(self, upload: Upload) -> float:
        """Give every client the same weight."""
        return 1.0

    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        """Move x by eta times the mean, and c by the mean scaled by the share of clients that answered."""
        change, (control,) = optimised(state, mean, "control")
        step = {name: self.eta * value for name, value in change.items()}
        share, mean_change = mean.clients / state.notes["clients"], strip_prefix("control", mean.extra)
        control = {name: c + share * mean_change[name] for name, c in control.items()}
        return with_memory(super().server_step(state, stepping(mean, step)), control=control)


def _controls(broadcast: Broadcast, client: ClientState) -> tuple[Tensors, Tensors]:
    """Return c and c_i, which is 0 before a client's first round."""
    common, own = strip_prefix("control", broadcast.extra), strip_prefix("control", client.memory)
    return common, own or {name: torch.zeros_like(value) for name, value in common.items()}
