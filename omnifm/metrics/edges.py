"""What becomes of the edges of two images in a third that is made of them; one value an image.

Images are ``(batch, 1, height, width)`` in [0, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omnifm.metrics.filters import separable

# How well an edge is kept, as perceived: top, slope and turning point for strength and for direction.
_STRENGTH = (0.9994, -15.0, 0.5)
_DIRECTION = (0.9879, -22.0, 0.8)


def sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return Sobel's derivatives across and down, each ``(batch, channels, height - 2, width - 2)``."""
    slope, smooth = image.new_tensor([-1.0, 0.0, 1.0]), image.new_tensor([1.0, 2.0, 1.0])
    return separable(image, smooth, slope), separable(image, slope, smooth)


def edge_transfer(found: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return Q^AB/F: how well the edges of two images are kept in ``found``, from 0 to about 1.

    Xydeas and Petrovic, Electronics Letters 36, 2000, with their constants; an edge counts by its own strength
    (L = 1). Sobel's window leaves the image at its border, where nothing is measured. Two images without an edge have
    nothing to lose: 1.

    Returns:
        ``(batch,)``.
    """
    strength, direction = _edges(found)
    kept = total = torch.zeros(len(found), dtype=torch.float64, device=found.device)
    for source in (first, second):
        own_strength, own_direction = _edges(source)
        weaker, stronger = torch.minimum(strength, own_strength), torch.maximum(strength, own_strength)
        likeness = torch.where(stronger > 0, weaker / stronger.clamp(min=1e-12), 1.0)
        turned = (own_direction - direction).abs()
        alignment = (turned - math.pi / 2).abs() / (math.pi / 2)  # edges are lines: a half turn is none
        quality = _evaluated(likeness, *_STRENGTH) * _evaluated(alignment, *_DIRECTION)
        kept = kept + (quality * own_strength).flatten(1).sum(dim=1)
        total = total + own_strength.flatten(1).sum(dim=1)
    return torch.where(total > 0, kept / total.clamp(min=1e-12), 1.0).float()


def spatial_frequency(image: Tensor) -> Tensor:
    """Return how active an image is: ``sqrt(rows + columns)``, the mean squares of differences between neighbours.

    Eskicioglu and Fisher, IEEE Transactions on Communications 43, 1995. As usual for values of 0 to 255: ``(batch,)``.
    """
    values = 255 * image.double()
    rows, columns = (values.diff(dim=dim).square().flatten(1).mean(dim=1) for dim in (3, 2))
    return (rows + columns).sqrt().float()


def _edges(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return strength, and direction from -pi/2 to pi/2 (of what is flat: 0)."""
    across, down = sobel(image.double())
    return torch.hypot(across, down), torch.atan2(down * torch.where(across < 0, -1.0, 1.0), across.abs())


def _evaluated(value: Tensor, top: float, slope: float, turn: float) -> Tensor:
    return top / (1 + torch.exp(slope * (value - turn)))
