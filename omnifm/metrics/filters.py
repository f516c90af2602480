"""Filters of images, each channel for itself; where a window leaves the image there is no value."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian(width: int, sigma: float) -> Tensor:
    """Return the weights of a Gaussian window ``(width,)``; they sum to 1."""
    weights = torch.exp(-((torch.arange(width, dtype=torch.float64) - (width - 1) / 2) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def separable(image: Tensor, down: Tensor, across: Tensor | None = None) -> Tensor:
    """Correlate ``(..., height, width)`` with ``down`` along the columns and ``across`` along the rows.

    Both windows are one-dimensional; without ``across`` it is ``down`` both ways. The result is smaller by the windows'
    lengths less 1.
    """
    height, width = image.shape[-2:]
    return _banded(down.to(image), height) @ image @ _banded((down if across is None else across).to(image), width).T


def _banded(window: Tensor, length: int) -> Tensor:
    """Return the matrix of a correlation: a product of matrices takes a processor far less time than a convolution."""
    count = length - len(window) + 1
    matrix = torch.zeros(count, length, dtype=window.dtype, device=window.device)
    for place, weight in enumerate(window):
        matrix.diagonal(place)[:count] = weight
    return matrix
