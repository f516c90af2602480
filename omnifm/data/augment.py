"""Random changes to training images that leave their truth as it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omnifm.data.subset import Batch


def flip_and_shift(fields: Batch, draw: torch.Generator, reach: float = 1 / 16, mirror: bool = True) -> Batch:
    """Mirror each example left to right or not, and move it along every axis by up to ``reach`` of its length.

    Args:
        fields: tensors on one grid, each ``(batch, channels, *size)``: image and mask go the same way.
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


def turn_and_mirror(fields: Batch, draw: torch.Generator) -> Batch:
    """Turn each example by 0, 90, 180 or 270 degrees and mirror it or not: the eight symmetries of a square.

    Args:
        fields: tensors on one square grid, each ``(batch, channels, side, side)``: all go the same way.
        draw: source of the choices, on the CPU.

    Returns:
        The same fields in the same shapes. No pixel is lost or repeated.
    """
    count = len(next(iter(fields.values())))
    turns = torch.randint(4, (count,), generator=draw).tolist()
    mirrored = torch.randint(2, (count,), generator=draw).tolist()

    def turned(values: Tensor) -> Tensor:
        made = zip(values, turns, mirrored, strict=True)
        return torch.stack([torch.rot90(row.flip(2) if flip else row, turn, (1, 2)) for row, turn, flip in made])

    return {name: turned(values) for name, values in fields.items()}


def crop(fields: Batch, draw: torch.Generator, side: int) -> Batch:
    """Cut a square of ``side`` pixels out of each example, anywhere.

    Args:
        fields: tensors on one grid, each ``(batch, channels, height, width)``: all are cut at the same place.
        draw: source of the choices, on the CPU.
        side: no more than height and width.

    Returns:
        The same fields, each ``(batch, channels, side, side)``.
    """
    batch, _, height, width = next(iter(fields.values())).shape
    tops = torch.randint(height - side + 1, (batch,), generator=draw).tolist()
    lefts = torch.randint(width - side + 1, (batch,), generator=draw).tolist()

    def cut(values: Tensor) -> Tensor:
        places = zip(values, tops, lefts, strict=True)
        return torch.stack([row[:, top : top + side, left : left + side] for row, top, left in places])

    return {name: cut(values) for name, values in fields.items()}
