"""Images as CLIP expects them (Radford et al., Learning Transferable Visual Models, ICML 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def clip_images(image: Tensor, size: int, mean: Tensor, std: Tensor) -> Tensor:
    """Return images ``(batch, 1 or 3, h, w)`` in [0, 1] as ``(batch, 3, size, size)``, normalised.

    Grey is repeated to RGB; the shorter side becomes ``size`` pixels (bicubic, antialiased), the centre square is
    taken, and ``mean`` and ``std`` ``(3,)`` are those of the images that the encoder was trained on. That is what
    ``CLIPImageProcessor`` does, but without its rounding to 256 levels in between.
    """
    height, width = image.shape[-2:]
    shorter = min(height, width)
    if shorter != size:
        new = (size * height // shorter, size * width // shorter)
        image = F.interpolate(image, new, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (image.shape[-2] - size) // 2, (image.shape[-1] - size) // 2
    square = image[..., top : top + size, left : left + size].expand(-1, 3, -1, -1)
    return (square - mean.view(3, 1, 1)) / std.view(3, 1, 1)
