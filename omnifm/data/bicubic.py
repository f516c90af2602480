"""Bicubic shrinking and enlarging, as is common in super-resolution.

Keys' kernel with a = -0.5, widened when shrinking so that nothing is aliased: what Pillow and MATLAB's ``imresize`` do.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def shrunk(images: Tensor, scale: int) -> Tensor:
    """Return images ``(batch, channels, h, w)`` in [0, 1] as ``(batch, channels, h / scale, w / scale)`` in [0, 1].

    The sides must be divisible by ``scale``. Values are not rounded to 8 bits.
    """
    return _resized(images, images.shape[-2] // scale, images.shape[-1] // scale)


def enlarged(images: Tensor, scale: int) -> Tensor:
    """Return images ``(batch, channels, h, w)`` in [0, 1] with sides ``scale`` times as long, in [0, 1]."""
    return _resized(images, images.shape[-2] * scale, images.shape[-1] * scale)


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    resized = F.interpolate(images, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 1)
