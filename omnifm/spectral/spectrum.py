"""The low-frequency amplitude spectrum of an image (GSKR, part 1; OmniFM, Sec. 3).

Low frequencies carry coarse anatomy, which is similar across modalities; texture and noise are not. Amplitudes of
images fall like 1 / frequency (Field, 1987): weighting them by frequency keeps the few lowest ones from
dominating. Without it the spectra of all images point in the same direction: on the phantom's training images their
mean cosine is 0.90, with it 0.36.

The spectrum is always that of the image that the network sees (in training, after augmentation) and is not cached: only
the low frequencies are computed, as products with small constant matrices, which takes under 1 % of a training step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Complex64, Float, Float32
from torch import Tensor

REFERENCE_PIXELS = 64 * 64


def low_pass_log_amplitude(
    image: Float[Tensor, "batch channels *size"], rho: float = 0.25, grid: int = 15
) -> Float32[Tensor, "batch channels {grid} *grids"]:
    """Return the centred low-pass log-amplitude spectrum on a fixed grid.

    The amplitude is kept for the frequencies ``-k .. k`` of every axis, ``k = rho * axis length / 2`` (at least 1),
    so zero frequency is the middle of the grid, whatever the image size. Amplitudes are scaled to those of an
    orthonormal transform of ``REFERENCE_PIXELS`` pixels: a frequency has the same amplitude at any image size. The
    band grows with the size, so compare images of one size, or scale ``rho``. Each amplitude is weighted by its
    frequency in cycles per image, zero frequency by one half.

    Args:
        image: ``(batch, channels, *size)``, spatial axes of any number and length.
        rho: side of the kept square as a fraction of the band, in (0, 1].
        grid: side of the output grid; odd, so that it has a middle.

    Returns:
        ``(batch, channels, grid, grid[, grid])``, ``log(1 + frequency * amplitude)``, float32.
    """
    size = image.shape[2:]
    reaches = band(size, rho)
    # Each step transforms the last axis and makes it the first: after all of them the order is as before.
    x = image.float()
    for length, reach in zip(reversed(size), reversed(reaches), strict=True):
        wave = waves(length, reach, image.device)
        if not x.is_complex():
            pairs = x @ torch.view_as_real(wave).flatten(1)
            x = torch.view_as_complex(pairs.view(*pairs.shape[:-1], -1, 2))
        else:
            x = x @ wave
        x = x.movedim(-1, 2)
    amplitude = x.abs() * (REFERENCE_PIXELS**0.5 / math.prod(size))
    spectrum = torch.log1p(amplitude * frequencies(amplitude.shape[2:], image.device))
    for reach in reversed(reaches):
        spectrum = (spectrum @ resampling(2 * reach + 1, grid, image.device)).movedim(-1, 2)
    return spectrum


def band(size: Sequence[int], rho: float) -> list[int]:
    """Return the highest frequency that is kept of each axis, in cycles per image."""
    return [min(max(1, round(rho * length / 2)), (length - 1) // 2) for length in size]


@lru_cache
def waves(length: int, reach: int, device: torch.device) -> Complex64[Tensor, "{length} {2*reach+1}"]:
    """Return ``exp(-2 pi i x f / length)`` for positions x and frequencies f from -reach to reach.

    A real image times this is its discrete Fourier transform at these frequencies and no others.
    """
    with torch.inference_mode(False):  # the cached tensor is also used in training
        turns = torch.arange(length).outer(torch.arange(-reach, reach + 1)) % length
        return torch.exp(-2j * math.pi * turns.double() / length).to(device, torch.complex64)


@lru_cache
def frequencies(shape: Sequence[int], device: torch.device) -> Float32[Tensor, "*shape"]:
    """Return the distance of each bin of a centred spectrum from its centre, one half at the centre itself."""
    with torch.inference_mode(False):
        offsets = [torch.arange(length) - length // 2 for length in shape]
        squares = [offset.square() for offset in torch.meshgrid(*offsets, indexing="ij")]
        return torch.stack(squares).sum(dim=0).sqrt().clamp(min=0.5).to(device)


@lru_cache
def resampling(length: int, grid: int, device: torch.device) -> Float32[Tensor, "{length} {grid}"]:
    """Return the matrix ``(length, grid)`` of linear resampling that keeps both ends in place."""
    with torch.inference_mode(False):
        lines = torch.eye(length)[None]
        return F.interpolate(lines, size=grid, mode="linear", align_corners=True)[0].to(device)
