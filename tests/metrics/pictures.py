"""Images for trying measures on."""

from __future__ import annotations

import torch
from torch import Tensor


def blobs(seed: int, height: int = 52, width: int = 47, noise: float = 0.02) -> Tensor:
    """Return three smooth images with a little noise and a black corner, ``(3, 1, height, width)`` in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.interpolate(
        torch.rand(3, 1, 7, 7, generator=draw), size=(height, width), mode="bicubic"
    )
    image = (smooth + noise * torch.randn(smooth.shape, generator=draw)).clamp(0, 1)
    image[..., : height // 2, : width // 2] = 0
    return image
