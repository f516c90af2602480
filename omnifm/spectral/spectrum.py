"""The low-frequency amplitude spectrum of an image (GSKR, part 1; OmniFM, Sec. 3).

Coarse anatomy lives in the low frequencies and looks alike across modalities; texture and noise do not. Amplitudes of
images fall like 1 / frequency (Field, 1987): weighing them by frequency first keeps the few lowest ones from
drowning the rest. Without it the spectra of all images point the same way: on the phantom's training images their mean
cosine is 0.90, with it 0.36.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

REFERENCE_PIXELS = 64 * 64
_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


def low_pass_log_amplitude(image: Tensor, rho: float = 0.25, grid: int = 15) -> Tensor:
    """Return the centred low-pass log-amplitude spectrum on a fixed grid.

    The amplitude is kept for the frequencies ``-k .. k`` of every axis, ``k = rho * axis length / 2`` (at least 1),
    so zero frequency is the middle of the grid, whatever the image size. Amplitudes are scaled to what an
    orthonormal transform of ``REFERENCE_PIXELS`` pixels gives: a frequency has the same amplitude at any image size.
    The band kept grows with the size, so compare images of one size, or scale ``rho``. Each amplitude is weighed by
    its frequency in cycles per image, zero frequency by one half.

    Args:
        image: ``(batch, channels, *size)``, two or three spatial axes of any length.
        rho: side of the kept square as a fraction of the band, in (0, 1].
        grid: side of the output grid; odd, so that it has a middle.

    Returns:
        ``(batch, channels, grid, grid[, grid])``, ``log(1 + frequency * amplitude)``, float32.
    """
    axes = tuple(range(2, image.dim()))
    image = image.float()
    pixels = image[0, 0].numel()
    amplitude = torch.fft.fftn(image, dim=axes).abs() * (REFERENCE_PIXELS**0.5 / pixels)
    for axis in axes:
        length = image.shape[axis]
        reach = min(max(1, round(rho * length / 2)), (length - 1) // 2)
        # Frequencies -reach..reach, from the two ends of the FFT's order.
        low = torch.arange(-reach, reach + 1, device=image.device) % length
        amplitude = amplitude.index_select(axis, low)
    spectrum = torch.log1p(amplitude * _frequency(amplitude.shape[2:]).to(image.device))
    if all(spectrum.shape[axis] == grid for axis in axes):
        return spectrum
    size = [grid] * len(axes)
    return F.interpolate(spectrum, size=size, mode=_INTERPOLATION[len(axes)], align_corners=True)


def _frequency(shape: Sequence[int]) -> Tensor:
    """Return the distance of each bin of a centred spectrum from its middle, one half in the middle itself."""
    offsets = [torch.arange(length) - length // 2 for length in shape]
    squares = [offset.square() for offset in torch.meshgrid(*offsets, indexing="ij")]
    return torch.stack(squares).sum(dim=0).sqrt().clamp(min=0.5)
