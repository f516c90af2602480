"""A small EDSR: residual blocks without normalisation, then pixel shuffle.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR workshops 2017.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Features(NamedTuple):
    """Feature maps ``(batch, width, h, w)`` of the low-resolution image, before the residual blocks and after them."""

    shallow: Tensor
    deep: Tensor


class EDSRBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut. No normalisation: it would take the contrast away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, width, h, w)`` to the same shape."""
        out: Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return out


class FeatureExtractor(nn.Module):
    """From a low-resolution image ``(batch, channels, h, w)`` to features at the same places."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.shallow = nn.Conv2d(channels, width, 3, padding=1)
        self.deep = nn.Sequential(*(EDSRBlock(width) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, image: Tensor) -> Features:
        """Extract the features."""
        shallow = self.shallow(image)
        return Features(shallow, self.deep(shallow))


class Reconstruction(nn.Module):
    """From features to the detail that an enlarged image ``(batch, channels, scale * h, scale * w)`` lacks.

    Tokens say place by place how much of each deep feature counts, and what to add to it (spatial feature transform:
    Wang et al., "Recovering Realistic Texture in Image Super-resolution by Deep Spatial Feature Transform", CVPR 2018).
    So the tokens may come in any magnitude, that of the features is kept. Both that transform and the last convolution
    start at zero: an untrained network adds nothing to the enlarged image.
    """

    def __init__(self, channels: int, width: int, scale: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, 2 * width)
        stages = []
        while scale > 1:
            stages += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2)]
            scale //= 2
        self.enlarge = nn.Sequential(*stages)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        for parameter in (*self.transform.parameters(), *self.last.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, features: Features) -> Tensor:
        """Add what the tokens ``(batch, h * w, width)`` say to the features, and reconstruct."""
        gain, shift = self.transform(tokens).transpose(1, 2).unflatten(2, features.deep.shape[2:]).chunk(2, dim=1)
        detail: Tensor = self.last(self.enlarge(features.shallow + features.deep * (1 + gain) + shift))
        return detail
