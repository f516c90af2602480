"""Colour images as luminance, which is a grey image, and chroma, which is colour alone (ITU-R BT.601, as in JPEG)."""

from __future__ import annotations

import torch
from torch import Tensor

from omnifm.data.images import LUMINANCE, to_channels

_RED, _GREEN, _BLUE = LUMINANCE


def to_luminance_and_chroma(colour: Tensor) -> tuple[Tensor, Tensor]:
    """Split images ``(images, 3, height, width)`` in [0, 1].

    Returns:
        luminance ``(images, 1, height, width)`` in [0, 1] and chroma ``(images, 2, height, width)``, Cb and Cr from
        -0.5 to 0.5, 0 where the image is grey.
    """
    luminance = to_channels(colour, 1)
    blue = (colour[:, 2:] - luminance) / (2 * (1 - _BLUE))
    red = (colour[:, :1] - luminance) / (2 * (1 - _RED))
    return luminance, torch.cat([blue, red], dim=1)


def to_colour(luminance: Tensor, chroma: Tensor) -> Tensor:
    """Put the two together again, as ``(images, 3, height, width)``; what no screen can show is cut off at 0 and 1."""
    blue = luminance + 2 * (1 - _BLUE) * chroma[:, :1]
    red = luminance + 2 * (1 - _RED) * chroma[:, 1:]
    green = (luminance - _RED * red - _BLUE * blue) / _GREEN
    return torch.cat([red, green, blue], dim=1).clamp(0, 1)
