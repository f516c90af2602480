"""From an image as it was read to what a network takes: in training, and in prediction alike."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.images import resize, to_channels
from omnifm.data.volumes import shrunk_volume


def shaped(unit: NDArray[np.float32], size: int, channels: int, *, colour: bool) -> Tensor:
    """Return values in [0, 1], ``(*size)`` or with 3 colours last, as ``(1, channels, size, size[, size])``."""
    planes = torch.from_numpy(np.ascontiguousarray(unit if colour else unit[..., np.newaxis]))[None].movedim(-1, 1)
    return resized(to_channels(planes, channels), size).clamp(0, 1)


def resized(planes: Tensor, size: int) -> Tensor:
    """Return images or volumes ``(rows, channels, *size)`` as squares or cubes of side ``size``."""
    return resize(planes, size) if planes.dim() == 4 else shrunk_volume(planes, size)
