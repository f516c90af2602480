"""MOON: Li, He and Song, Model-Contrastive Federated Learning, CVPR 2021."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnifm.algorithms.algorithm import Algorithm
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.data.subset import Batch
from omnifm.tasks.task import Task, TaskNetwork
from omnifm.training.hooks import LocalTraining
from omnifm.training.model import AuxiliaryModule, FederatedModel, Output
from omnifm.training.trainer import Trainer
from omnifm.utils.settings import Count, NotNegative, Positive


class Projection(AuxiliaryModule):
    """A projection head beside the task's own: ``(batch, L, width)`` to one vector an image, ``(batch, size)``."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, size))

    def embed(self, features: Tensor) -> Tensor:
        """Project the mean feature."""
        vector: Tensor = self.project(features.mean(dim=1))
        return vector


@dataclass(frozen=True)
class Moon(Algorithm):
    """The loss gains ``mu CE([cos(z, z_glob), cos(z, z_prev)] / T, 0)``: near the received model, far from its last.

    z is the projected feature of an image in the model in training, z_glob in the received one, z_prev in the client's
    own of its last round; both are frozen, in evaluation mode. In a client's first round the term is left out.
    Extension for dense tasks: the feature is the mean of the encoder's tokens. The task's head reads the features and
    not their projection, as for all other algorithms. No part of the network is personal; the client keeps its last
    model. The weights travel both ways, with those of the projection head.

    Attributes:
        mu: the weight of the contrast.
        temperature: T.
        projection: the length of the projected feature.
    """

    mu: NotNegative = 1.0
    temperature: Positive = 0.5
    projection: Count = 256

    def companion(self, network: TaskNetwork, task: Task) -> Projection:
        """Add the projection head."""
        return Projection(network.width, self.projection)

    def remark(self, network: TaskNetwork) -> str:
        """Name the extension for dense tasks."""
        return "" if network.pooled else "extension: contrasts the mean of the encoder's tokens"

    def local_training(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> LocalTraining:
        """Contrast with the model as received and with the client's last."""
        if not client.memory or self.mu == 0:
            return LocalTraining()
        received = trainer.frozen()
        last = trainer.frozen()
        last.load_state_dict(client.memory, strict=False)  # it lacks parameters that no gradient acts on

        def contrast(output: Output, batch: Batch) -> Tensor:
            z = _embedding(trainer.model, output.features)
            with torch.no_grad():
                others = [_embedding(model, model.encode(batch)[0]) for model in (received, last)]
            similarity = torch.stack([F.cosine_similarity(z, other) for other in others], dim=1)
            target = torch.zeros(len(z), dtype=torch.int64, device=z.device)
            return self.mu * F.cross_entropy(similarity / self.temperature, target)

        return LocalTraining(extra_loss=contrast)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Keep the model for the next contrast."""
        upload, after = super().client_update(broadcast, client, trainer)
        return upload, replace(after, memory=trainer.tensors())


def _embedding(model: FederatedModel, features: Tensor) -> Tensor:
    assert isinstance(model.companion, Projection)
    return model.companion.embed(features)
