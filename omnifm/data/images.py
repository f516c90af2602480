"""Images of any depth, colour and size, made into ``(images, channels, size, size)`` float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# ITU-R BT.601, the luma that Pillow and most viewers use.
LUMINANCE = (0.299, 0.587, 0.114)

# Large sets are converted this many images at a time, so that only the small result is ever float32 as a
# whole.
_CHUNK = 1024


def to_unit(images: NDArray[Any]) -> Tensor:
    """Return uint8 or uint16 values, of any shape, as float32 in [0, 1].

    Raises:
        TypeError: the values are of another type, so that their range is unknown.
    """
    if images.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"images are {images.dtype}, but must be uint8 or uint16")
    values = images.astype(np.float32)
    values /= np.iinfo(images.dtype).max  # in place: of a large image there is one copy, not two
    return torch.from_numpy(values)


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Return images or volumes ``(images, 1 or 3, *size)`` with 1 (grey) or 3 (RGB) channels.

    Grey is repeated into RGB; RGB becomes grey by its luminance (ITU-R BT.601).
    """
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, *images.shape[2:])
    weights = torch.tensor(LUMINANCE, dtype=images.dtype).view(1, 3, *[1] * (images.dim() - 2))
    return (images * weights).sum(dim=1, keepdim=True)


def resize(images: Tensor, size: int) -> Tensor:
    """Return images ``(images, channels, height, width)`` as squares of side ``size``.

    Bilinear with antialiasing; the aspect ratio is not kept. Images of that size are returned as they are.
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def pixels(image: Tensor) -> NDArray[np.uint8]:
    """Return an image ``(1 or 3, height, width)`` in [0, 1] for the eye: ``(height, width)`` or with 3 colours, uint8.

    Of an image with other channels, which nobody can look at together, the first is shown; of a volume ``(channels,
    depth, height, width)`` the slice in the middle.
    """
    if image.dim() == 4:
        image = image[:, image.shape[1] // 2]
    shown = image if image.shape[0] in (1, 3) else image[:1]
    values: NDArray[np.uint8] = (shown.clamp(0, 1) * 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return values[..., 0] if values.shape[-1] == 1 else values


def prepare(images: NDArray[Any], size: int, channels: int) -> Tensor:
    """Return images as ``(images, channels, size, size)`` float32 in [0, 1].

    They come as ``(images, height, width)`` or ``(images, height, width, 3)``, uint8 or uint16.
    """
    if images.ndim == 3:
        images = images[..., np.newaxis]
    prepared = torch.empty(len(images), channels, size, size)
    for start in range(0, len(images), _CHUNK):
        chunk = to_unit(images[start : start + _CHUNK]).permute(0, 3, 1, 2)
        prepared[start : start + _CHUNK] = resize(to_channels(chunk, channels), size).clamp(0, 1)
    return prepared
