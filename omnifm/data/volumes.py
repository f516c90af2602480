"""Volumes ``(channels, z, y, x)``: what of them is shown, and how finely."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omnifm.data.subset import evenly_spaced


def cropped(volume: Tensor, spacing: Sequence[float], side: float) -> Tensor:
    """Return a cube of ``side`` mm about the middle of what is not zero, filled up with zeros.

    Args:
        volume: ``(channels, z, y, x)``.
        spacing: in mm, an axis each.
        side: in mm.
    """
    from monai.transforms.croppad.array import CropForeground, ResizeWithPadOrCrop  # takes seconds to import

    about = CropForeground(allow_smaller=True)(volume)
    return _plain(ResizeWithPadOrCrop([max(1, round(side / step)) for step in spacing])(about))


def shrunk_volume(volumes: Tensor, side: int) -> Tensor:
    """Return ``(rows, channels, *size)`` with all sides at ``side``: linear, and smoothed before it shrinks."""
    from monai.transforms.spatial.array import Resize

    axes = volumes.dim() - 2
    resize = Resize([side] * axes, mode="bilinear" if axes == 2 else "trilinear", anti_aliasing=True)
    return torch.stack([_plain(resize(volume)) for volume in volumes])


def between(seen: Tensor, count: int) -> list[int]:
    """Return ``count`` places, evenly spaced between the first and the last true one of ``(n,)``, ends left out."""
    places = seen.nonzero().flatten()
    first, last = int(places[0]), int(places[-1])
    return [first + place for place in evenly_spaced(last - first + 1, count)]


def _plain(values: Tensor) -> Tensor:
    """Return a tensor without MONAI's metadata."""
    from monai.utils.type_conversion import convert_to_tensor

    plain: Tensor = convert_to_tensor(values, track_meta=False)
    return plain
