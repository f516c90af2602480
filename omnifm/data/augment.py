"""Random changes to training images that leave their truth as it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omnifm.data.examples import Batch


def flip_and_shift(fields: Batch, draw: torch.Generator, reach: float = 1 / 16, mirror: bool = True) -> Batch:
    """Mirror each example left to right or not, and move it along every axis by up to ``reach`` of its length.

    Args:
        fields: what lies on one grid, each ``(batch, channels, *size)``: image and mask go the same way.
        draw: source of the choices, on the CPU.
        reach: the farthest move, as a fraction of the length; edges are repeated.
        mirror: False mirrors none.

    Returns:
        The same fields in the same shapes.
    """
    batch, _, *size = next(iter(fields.values())).shape

    def moved(length: int) -> Tensor:
        most = round(reach * length)
        move = torch.randint(-most, most + 1, (batch, 1), generator=draw)
        return (torch.arange(length) + move).clamp(0, length - 1)

    places = [moved(length) for length in size]
    if mirror:
        mirrored = torch.rand(batch, 1, generator=draw) < 0.5
        places[-1] = torch.where(mirrored, places[-1].flip(1), places[-1])
    at = torch.zeros(batch, 1, dtype=torch.int64)
    for axis, place in enumerate(places):
        at = (at.unsqueeze(2) + place.unsqueeze(1) * math.prod(size[axis + 1 :])).flatten(1)
    at = at.unsqueeze(1)

    def taken(values: Tensor) -> Tensor:
        return values.flatten(2).gather(2, at.to(values.device).expand(-1, values.shape[1], -1)).view_as(values)

    return {name: taken(values) for name, values in fields.items()}
