"""Your own network in one file: a task is built with it, and everything else of that task stays as it is.

    python examples/own_network.py run examples/classification-phantom.toml --set task=my-classification

Tokens are what the spectral adapter works on: `encode` must return them as (batch, tokens, width). Here the backbone
returns a feature map, and the network of the task, `ClassificationNetwork`, does the rest.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from omnifm import register_task
from omnifm.cli import main
from omnifm.tasks.classification import Classification, ClassificationNetwork, ClassificationSettings


class Plain(nn.Module):
    """Three convolutions, each with a stride of two: ``(B, channels, h, w)`` to ``(B, width, h / 8, w / 8)``."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        steps = [(channels, width // 4), (width // 4, width // 2), (width // 2, width)]
        layers = [nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(1, b), nn.GELU()) for a, b in steps]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Return the feature map."""
        features: Tensor = self.layers(image)
        return features


@dataclass(frozen=True)
class MySettings(ClassificationSettings):
    """The keys of ``[my-classification]``: those of the task, and one more."""

    features: int = 32


@register_task("my-classification", MySettings)
class MyClassification(Classification):
    """Classification with that network."""

    settings: MySettings

    def network(self) -> ClassificationNetwork:
        """Build the network; its weights are drawn from torch's global generator, which has the run's seed."""
        backbone = Plain(self.shape.channels, self.settings.features)
        return ClassificationNetwork(backbone, self.classes)  # type: ignore[arg-type]  # any with a width will do


if __name__ == "__main__":
    main()
