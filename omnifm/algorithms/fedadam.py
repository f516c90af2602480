"""FedAdam: Reddi et al., Adaptive Federated Optimization, ICLR 2021."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.server_optimizer import optimised, stepping, with_memory, zeros
from omnifm.core.records import ServerState
from omnifm.core.tensors import Tensors
from omnifm.data.client_stats import ClientStats
from omnifm.utils.settings import Fraction, Positive


@dataclass(frozen=True)
class FedAdam(Algorithm):
    """Adam at the server, without bias correction, as in the paper.

    ``m <- b1 m + (1 - b1) D``, ``v <- b2 v + (1 - b2) D^2``, ``x <- x + eta m / (sqrt(v) + tau)``, from m = 0 and v =
    tau^2. Nothing is personal; the weights travel both ways, m and v stay at the server.

    Attributes:
        beta1: the decay of m.
        beta2: the decay of v.
        tau: what keeps the divisor from zero, and the root of v at the start.
        eta: the server's step size; the paper's grid is 0.01 and 0.1 on images.
    """

    beta1: Fraction = 0.9
    beta2: Fraction = 0.99
    tau: Positive = 1e-3
    eta: Positive = 0.01

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start with m = 0 and v = tau^2."""
        state = super().init(shared, trainable, clients)
        first = zeros(shared, trainable)
        second = {name: torch.full_like(shared[name], self.tau**2) for name in trainable}
        return with_memory(state, first=first, second=second)

    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        """Move each weight by the ratio of its first moment to the root of its second."""
        change, (first, second) = optimised(state, mean, "first", "second")
        first = {n: self.beta1 * m + (1 - self.beta1) * change[n] for n, m in first.items()}
        second = {n: self.second_moment(v, change[n].square()) for n, v in second.items()}
        step = {n: self.eta * m / (second[n].sqrt() + self.tau) for n, m in first.items()}
        moved = super().server_step(state, stepping(mean, step))
        return with_memory(moved, first=first, second=second)

    def second_moment(self, moment: Tensor, square: Tensor) -> Tensor:
        """Return v after a round whose change has this square."""
        return self.beta2 * moment + (1 - self.beta2) * square
