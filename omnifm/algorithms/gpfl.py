"""GPFL: Zhang et al., Simultaneously Learning Global and Personalized Feature Information, ICCV 2023."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.gradients import pull
from omnifm.core.records import Broadcast, ClientState
from omnifm.data.subset import Batch
from omnifm.tasks.task import Task, TaskNetwork
from omnifm.training.hooks import LocalTraining
from omnifm.training.model import AuxiliaryModule, Output
from omnifm.training.trainer import Trainer
from omnifm.utils.errors import IncompatibleError
from omnifm.utils.settings import NotNegative


class CategoryGuide(AuxiliaryModule):
    """The global category embedding (GCE) and the conditional valve (CoV).

    The decoder gets the features through the valve under the client's own condition. Both conditions, and the
    embedding that features are pulled towards, are those of the GCE as received.
    """

    own: Tensor
    general: Tensor
    received: Tensor

    def __init__(self, classes: int, width: int, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        self.embedding = nn.Embedding(classes, width)
        self.scale, self.shift = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width)) for _ in range(2)
        )
        self.register_buffer("own", torch.zeros(width), persistent=False)
        self.register_buffer("general", torch.zeros(width), persistent=False)
        self.register_buffer("received", torch.zeros(classes, width), persistent=False)

    def condition(self, shares: Tensor) -> None:
        """Take the conditions from the current embedding; ``shares`` ``(classes,)`` are class frequencies."""
        self.received = self.embedding.weight.detach().clone()
        self.own, self.general = shares.to(self.received) @ self.received, self.received.mean(dim=0)

    def valve(self, features: Tensor, condition: Tensor) -> Tensor:
        """Scale and shift features ``(batch, L, width)`` by a condition ``(width,)``."""
        if self.pooled:
            features = features.mean(dim=1, keepdim=True)
        return F.relu((self.scale(condition) + 1) * features + self.shift(condition))

    def forward(self, features: Tensor) -> Tensor:
        """Return the features under the client's own condition."""
        return self.valve(features, self.own)


@dataclass(frozen=True)
class GPFL(Algorithm):
    """``CE(head(CoV(f, p_i))) + CE_cos(GCE, CoV(f, g)) + lam ||CoV(f, g) - e_y||``, weight decay ``mu`` on GCE, CoV.

    g is the mean of the class embeddings, p_i their mean weighted by the client's class frequencies; both and e_y are
    those of the GCE as received. The norm is a mean over the batch. Rows without a class (several labels) are left out
    of the second and third term. Extension for dense tasks: f and its class are those of each position of the encoder.
    Personal: the head. Body, GCE and CoV travel both ways.

    Attributes:
        lam: the weight of the third term; 0.01 is the paper's for a small CNN, 0.0001 for a ResNet-18.
        mu: the weight decay on GCE and CoV; 0.1 is the paper's for a small CNN, 0 for a ResNet-18.
    """

    lam: NotNegative = 0.01
    mu: NotNegative = 0.1

    @property
    def personal(self) -> tuple[str, ...]:
        """The head."""
        return ("head",)

    def companion(self, network: TaskNetwork, task: Task) -> CategoryGuide:
        """Add GCE and CoV."""
        if not task.classes:
            raise IncompatibleError("algorithm 'gpfl' learns an embedding of each class, and this task has no classes.")
        return CategoryGuide(task.classes, network.width, network.pooled)

    def remark(self, network: TaskNetwork) -> str:
        """Name the extension for dense tasks."""
        return "" if network.pooled else "extension: guided by the class of each position"

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Take the conditions from the received GCE."""
        super().receive(broadcast, client, trainer)
        labels = trainer.task.labels(trainer.client.train.whole())
        counts = torch.bincount(labels[labels >= 0].flatten(), minlength=trainer.task.classes).float()
        _guide(trainer).condition(counts / counts.sum().clamp(min=1))

    def local_training(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> LocalTraining:
        """Guide the features by the class embeddings of all clients."""
        guide = _guide(trainer)

        def guidance(output: Output, batch: Batch) -> Tensor:
            labels = trainer.task.labels(batch)
            features, known = guide.valve(output.features, guide.general), labels >= 0
            features, labels = features[known], labels[known]
            if not len(labels):
                return torch.zeros_like(output.features[0, 0, 0])
            cosine = F.normalize(features, dim=1) @ F.normalize(guide.embedding.weight, dim=1).T
            distance: Tensor = torch.linalg.vector_norm(features - guide.received[labels], dim=1).mean()
            return F.cross_entropy(cosine, labels) + self.lam * distance

        origin = {f"companion.{name}": torch.zeros_like(p) for name, p in guide.named_parameters()}
        return LocalTraining(gradient_hook=pull(self.mu, origin, trainer), extra_loss=guidance)


def _guide(trainer: Trainer) -> CategoryGuide:
    assert isinstance(trainer.model.companion, CategoryGuide)
    return trainer.model.companion
