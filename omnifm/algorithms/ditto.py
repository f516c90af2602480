"""Ditto: Li et al., Fair and Robust Federated Learning Through Personalization, ICML 2021."""

from __future__ import annotations

from dataclasses import dataclass, replace

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.gradients import pull
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.tasks.task import TaskNetwork
from omnifm.training.hooks import LocalTraining
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer
from omnifm.utils.settings import NotNegative


@dataclass(frozen=True)
class Ditto(Algorithm):
    """FedAvg, and for each client a model v of its own: ``v <- v - lr (grad f(v) + lam (v - x))``, x as received.

    v takes as many steps as the common model: twice the local work. The client's model is v at both evaluation points;
    before a client's first round it is x. Personal: v, a whole model. The weights of the common model travel both ways.

    Attributes:
        lam: how strongly v is pulled towards x; the paper tries 0.1, 1 and 2.
    """

    lam: NotNegative = 1.0

    def remark(self, network: TaskNetwork) -> str:
        """Name the extra cost."""
        return "twice the local work: two models per client"

    def epochs(self, settings: TrainingSettings) -> int:
        """Count both models."""
        return 2 * super().epochs(settings)

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Load v."""
        trainer.load(broadcast.shared, client.personal, client.memory)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Train v towards x, then x as FedAvg does; at the end the trainer's model is v again."""
        common = {**trainer.tensors(shared=False), **client.personal}  # in a first round: the initial weights
        self.receive(broadcast, client, trainer)
        trainer.fit(broadcast.round, LocalTraining(gradient_hook=pull(self.lam, broadcast.shared, trainer)))
        own = trainer.tensors()
        upload, after = super().client_update(broadcast, replace(client, personal=common, memory={}), trainer)
        trainer.load(own)
        return upload, replace(after, memory=own)
