"""FedAvgM: Hsu et al., Measuring the Effects of Non-Identical Data Distribution, arXiv 1909.06335, 2019."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.server_optimizer import optimised, stepping, with_memory, zeros
from omnifm.core.records import ServerState
from omnifm.core.tensors import Tensors
from omnifm.data.client_stats import ClientStats
from omnifm.utils.settings import Fraction, Positive


@dataclass(frozen=True)
class FedAvgM(Algorithm):
    """Momentum at the server: ``v <- beta v + D``, ``x <- x + eta v``.

    Nothing is personal; the weights travel both ways, v stays at the server.

    Attributes:
        beta: the momentum.
        eta: the server's step size.
    """

    beta: Fraction = 0.9
    eta: Positive = 1.0

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start with v = 0."""
        state = super().init(shared, trainable, clients)
        return with_memory(state, velocity=zeros(shared, trainable))

    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        """Move the shared weights by the velocity."""
        change, (velocity,) = optimised(state, mean, "velocity")
        velocity = {name: self.beta * v + change[name] for name, v in velocity.items()}
        step = {name: self.eta * v for name, v in velocity.items()}
        return with_memory(super().server_step(state, stepping(mean, step)), velocity=velocity)
