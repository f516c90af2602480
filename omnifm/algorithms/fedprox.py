"""FedProx: Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020."""

from __future__ import annotations

from dataclasses import dataclass

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.gradients import pull
from omnifm.core.records import Broadcast, ClientState
from omnifm.training.hooks import LocalTraining
from omnifm.training.trainer import Trainer
from omnifm.utils.settings import NotNegative


@dataclass(frozen=True)
class FedProx(Algorithm):
    """The local loss gains ``mu / 2 ||w - x||^2``: its gradient is ``g + mu (w - x)``, x as received.

    Nothing is personal; the weights travel both ways.

    Attributes:
        mu: the strength of the pull towards x; the paper tries 0.001, 0.01, 0.1 and 1.
    """

    mu: NotNegative = 0.01

    def local_training(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> LocalTraining:
        """Pull the weights towards those received."""
        return LocalTraining(gradient_hook=pull(self.mu, broadcast.shared, trainer))
