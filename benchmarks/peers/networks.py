"""The networks of the two workloads, plain PyTorch, the same code for every contender.

Each has ``features``, ``(batch, channels, height, width) -> (batch, width)``, and a linear ``head`` to 10 classes.
"""

from __future__ import annotations

from torch import Tensor, nn

CLASSES = 10


class Network(nn.Module):
    """Features and a head."""

    def __init__(self, features: nn.Module, width: int) -> None:
        super().__init__()
        self.features, self.width = features, width
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(batch, 10)``."""
        return self.head(self.features(images))


def small_cnn() -> Network:
    """Return the usual small network for grey 28 x 28 images: two convolutions with pooling, one hidden layer."""
    features = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 128),
        nn.ReLU(),
    )
    return Network(features, 128)


def resnet18() -> Network:
    """Return ResNet-18 with batch normalisation (He et al., CVPR 2016, table 1) for three channels.

    The first convolution has stride 1, as in MONAI's and so in OmniFM's own, which suits images of 64 x 64.
    """
    stem = [nn.Conv2d(3, 64, 7, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks = [
        Block(before, after, stride)
        for before, after, stride in (
            (64, 64, 1),
            (64, 64, 1),
            (64, 128, 2),
            (128, 128, 1),
            (128, 256, 2),
            (256, 256, 1),
            (256, 512, 2),
            (512, 512, 1),
        )
    ]
    return Network(nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 512)


class Block(nn.Module):
    """Two convolutions with a residual connection."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.around: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.around = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, after, height / stride, width / stride)``."""
        return (self.body(x) + self.around(x)).relu()
