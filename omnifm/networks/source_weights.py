"""Where each of two sources should count in what is made of them: by the gradients of fixed features of each.

U2Fusion (Xu et al., IEEE TPAMI 44, 2022) measures the information in an image by the mean square of the gradients of
VGG-16's feature maps, five stages deep, and weighs the two sources by a softmax over it. Two things are different here.
The features are, unless weights of VGG-16 are given, the image itself at five resolutions: as VGG's stages do, they go
from edges to coarse shapes, and nothing needs to be downloaded. And the measure is taken in each window, not of the
image as a whole: with one weight an image, both sources are blended everywhere, and each is noise to the other. The
softmax is over ``sharpness`` times the logarithm, so that the scale of the features is of no matter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

SourceFeatures = Callable[[Tensor], list[Tensor]]
LEVELS = 5


def pyramid(image: Tensor) -> list[Tensor]:
    """Return ``(batch, 1, height, width)`` at up to five resolutions, each half the last, down to 4 pixels."""
    levels = [image]
    while len(levels) < LEVELS and min(levels[-1].shape[-2:]) >= 8:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def information(features: list[Tensor], size: tuple[int, int]) -> Tensor:
    """Return the mean square of the gradients of feature maps, a mean over maps and levels: ``(batch, 1, *size)``."""
    found = []
    for level in features:
        down, across = level.diff(dim=2).square(), level.diff(dim=3).square()
        square = F.pad(down, (0, 0, 0, 1)) + F.pad(across, (0, 1))
        found.append(F.interpolate(square.mean(dim=1, keepdim=True), size, mode="bilinear", align_corners=False))
    return torch.stack(found).mean(dim=0)


@torch.no_grad()
def source_weights(sources: Tensor, features: SourceFeatures, sharpness: float, window: int) -> Tensor:
    """Return the weights of ``(batch, n, height, width)`` sources in each window; over the sources they sum to 1.

    Returns:
        ``(batch, n, height - window + 1, width - window + 1)``. Sources without any information there count equally.
    """
    size = (sources.shape[2], sources.shape[3])
    held = torch.cat([information(features(source.unsqueeze(1)), size) for source in sources.unbind(dim=1)], dim=1)
    return torch.softmax(sharpness * F.avg_pool2d(held, window, 1).clamp(min=1e-8).log(), dim=1)
