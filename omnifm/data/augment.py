"""Random changes to training images that leave their truth as it is."""

from __future__ import annotations

import torch
from torch import Tensor


def flip_and_shift(images: Tensor, draw: torch.Generator, reach: float = 1 / 16) -> Tensor:
    """Mirror each image left to right or not, and move it by up to ``reach`` of its height and width.

    Args:
        images: ``(batch, channels, height, width)``.
        draw: source of the choices, on the CPU.
        reach: the farthest move, as a fraction of the side; edges are repeated.

    Returns:
        The same shape.
    """
    batch, channels, height, width = images.shape

    def moved(length: int) -> Tensor:
        most = round(reach * length)
        move = torch.randint(-most, most + 1, (batch, 1), generator=draw)
        return (torch.arange(length) + move).clamp(0, length - 1)

    rows, columns = moved(height), moved(width)
    mirrored = torch.rand(batch, 1, generator=draw) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    at = (rows[:, :, None] * width + columns[:, None, :]).flatten(1).unsqueeze(1).to(images.device)
    return images.flatten(2).gather(2, at.expand(-1, channels, -1)).view_as(images)
