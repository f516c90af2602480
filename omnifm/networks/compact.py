"""A compact residual network that trains in minutes on two processor cores."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from omnifm.networks.normalisation import Normalisation, normalisation


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut (He et al., 2016); the first may halve the picture."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Normalisation) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = normalisation(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = normalisation(norm, outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, h, w)`` to ``(batch, outputs, h / stride, w / stride)``."""
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class CompactEncoder(nn.Sequential):
    """A strided stem and three residual blocks: ``(batch, channels, h, w)`` to ``(batch, 4 * width, h / 8, w / 8)``."""

    def __init__(self, channels: int, width: int, norm: Normalisation) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, 2, 1, bias=False),
            normalisation(norm, width),
            nn.ReLU(),
            ResidualBlock(width, width, 1, norm),
            ResidualBlock(width, 2 * width, 2, norm),
            ResidualBlock(2 * width, 4 * width, 2, norm),
        )
        self.width = 4 * width
