"""FedRep: Collins et al., Exploiting Shared Representations for Personalized Federated Learning, ICML 2021."""

from __future__ import annotations

from dataclasses import dataclass

from omnifm.algorithms.fedper import FedPer
from omnifm.core.records import Broadcast, ClientState
from omnifm.training.hooks import LocalTraining, Phase
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer
from omnifm.utils.settings import Count


@dataclass(frozen=True)
class FedRep(FedPer):
    """FedPer in two phases: the head's epochs with the body frozen, then the body's epochs with the head frozen.

    Each phase has its own optimiser, so that no momentum moves the frozen half. The body travels both ways.

    Attributes:
        head_epochs: how many of the local epochs train the head; the others, at least one, train the body. The paper
            has 10, and one of the body, on CIFAR-10.
    """

    head_epochs: Count = 1

    def epochs(self, settings: TrainingSettings) -> int:
        """Count both phases."""
        return self.head_epochs + self._body_epochs(settings)

    def local_training(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> LocalTraining:
        """Train the personal parts, then the shared ones."""
        names = frozenset(trainer.trainable)
        phases = (
            Phase(self.head_epochs, names & trainer.personal),
            Phase(self._body_epochs(trainer.settings), names - trainer.personal),
        )
        return LocalTraining(phases=tuple(phase for phase in phases if phase.names))

    def _body_epochs(self, settings: TrainingSettings) -> int:
        return max(1, settings.epochs - self.head_epochs)
