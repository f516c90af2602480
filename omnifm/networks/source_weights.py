"""How much each of two sources should count in what is made of them: by the gradients of fixed features of each.

U2Fusion (Xu et al., IEEE TPAMI 44, 2022) measures the information in an image by the mean square of the gradients of
VGG-16's feature maps, five stages deep, and weighs the sources by a softmax over it. Here the features are, unless
weights of VGG-16 are given, the image itself at five resolutions: as VGG's stages do, they go from edges to coarse
shapes, and nothing needs to be downloaded. The shares are those of ``information ** sharpness``, a softmax over its
logarithm: so the scale of the features, which differs between the two kinds, is of no matter.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Features = Callable[[Tensor], list[Tensor]]
LEVELS = 5


def pyramid(image: Tensor) -> list[Tensor]:
    """Return ``(batch, 1, height, width)`` at up to five resolutions, each half the last, down to 4 pixels."""
    levels = [image]
    while len(levels) < LEVELS and min(levels[-1].shape[-2:]) >= 8:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def information(features: list[Tensor]) -> Tensor:
    """Return the mean square of the gradients of feature maps, a mean over maps and levels: ``(batch,)``."""
    return torch.stack(
        [
            level.diff(dim=2).square().mean(dim=(1, 2, 3)) + level.diff(dim=3).square().mean(dim=(1, 2, 3))
            for level in features
        ]
    ).mean(dim=0)


@torch.no_grad()
def source_weights(sources: Tensor, features: Features, sharpness: float) -> Tensor:
    """Return the weights ``(batch, n)`` of ``(batch, n, height, width)`` sources; they sum to 1.

    Sources without any information count alike.
    """
    held = torch.stack([information(features(source.unsqueeze(1))) for source in sources.unbind(dim=1)], dim=1)
    return torch.softmax(sharpness * held.clamp(min=1e-12).log(), dim=1)
