"""Your own task in one file: how large is the lesion? The phantom knows the truth.

python examples/own_task.py run examples/classification-phantom.toml --set task=lesion-size
"""

from typing import Any

import torch
from torch import Tensor, nn

from omnifm import Batch, DataShape, Subset, Task, register_task
from omnifm.cli import main
from omnifm.data.images import pixels
from omnifm.networks.compact import CompactEncoder
from omnifm.tasks.classification import ClassificationNetwork, ClassificationSettings
from omnifm.tasks.task import Panel, Picture, Scores


class LesionSizeNetwork(ClassificationNetwork):  # its `encode` returns tokens, which the spectral adapter sees
    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        return self.head(tokens.mean(dim=1)).squeeze(1).sigmoid()


def truth(batch: Batch) -> Tensor:  # the share of each image that the lesion takes
    return (batch["lesion"] > 0).float().mean(dim=(1, 2))


class Closeness(list[Tensor]):  # of the errors; of a main metric, more is better
    def update(self, prediction: Tensor, batch: Batch) -> None:
        self.append((prediction - truth(batch)).abs())

    def compute(self) -> Scores:
        return Scores({"closeness": 1 - torch.cat(list(self)).mean().item()}, {})


@register_task("lesion-size", ClassificationSettings)  # the keys of [lesion-size]
class LesionSize(Task):
    main_metric = "closeness"

    def __init__(self, settings: ClassificationSettings, shape: DataShape) -> None:
        self.settings, self.shape = settings, shape

    def network(self) -> LesionSizeNetwork:
        return LesionSizeNetwork(CompactEncoder(self.shape.channels, self.settings.width, "group"), classes=1)

    def loss(self, prediction: Any, batch: Batch) -> Tensor:
        return nn.functional.mse_loss(prediction, truth(batch))

    def metric(self, train: Subset) -> Closeness:
        return Closeness()

    def visualise(self, prediction: Any, batch: Batch) -> list[Panel]:
        return [
            Panel((Picture("", pixels(x)),), None, f"{y:.1%}") for x, y in zip(batch["image"], prediction, strict=True)
        ]


if __name__ == "__main__":
    main()
