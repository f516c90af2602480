"""The low-frequency amplitude spectrum in real arithmetic, for formats of exported networks without complex numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from omnifm.spectral.spectrum import REFERENCE_PIXELS, band, frequencies, resampling, waves


class RealSpectrum(nn.Module):
    """What ``low_pass_log_amplitude`` does to images of one size, as products with fixed cosines and sines.

    ``exp(-2 pi i x f / n)`` is split into its real and its imaginary part, and each step of the transform into four
    real products. The sums run in another order, so the last bits can differ: trained networks never use it.

    Args:
        size: the spatial axes of the images.
        rho: as in ``low_pass_log_amplitude``.
        grid: as there.
    """

    frequency: Tensor

    def __init__(self, size: Sequence[int], rho: float, grid: int) -> None:
        super().__init__()
        self.size = tuple(size)
        device = torch.device("cpu")
        reaches = band(self.size, rho)
        for axis, (length, reach) in enumerate(zip(self.size, reaches, strict=True)):
            wave = waves(length, reach, device)
            self.register_buffer(f"cosine{axis}", wave.real.clone())
            self.register_buffer(f"sine{axis}", wave.imag.clone())
            self.register_buffer(f"resampling{axis}", resampling(2 * reach + 1, grid, device).clone())
        shape = torch.Size(2 * reach + 1 for reach in reaches)
        self.register_buffer("frequency", frequencies(shape, device).clone())

    def forward(self, image: Float[Tensor, "batch channels *size"]) -> Float32[Tensor, "batch channels *grid"]:
        """Return the spectrum of images of the size that this was made for."""
        real, imaginary = image.float(), None
        for axis in reversed(range(len(self.size))):
            cosine, sine = self._of(axis, "cosine"), self._of(axis, "sine")
            if imaginary is None:
                real, imaginary = real @ cosine, real @ sine
            else:
                real, imaginary = real @ cosine - imaginary @ sine, real @ sine + imaginary @ cosine
            real, imaginary = real.movedim(-1, 2), imaginary.movedim(-1, 2)
        assert imaginary is not None  # there is an axis
        amplitude = (real.square() + imaginary.square()).sqrt() * (REFERENCE_PIXELS**0.5 / math.prod(self.size))
        spectrum = torch.log1p(amplitude * self.frequency)
        for axis in reversed(range(len(self.size))):
            spectrum = (spectrum @ self._of(axis, "resampling")).movedim(-1, 2)
        return spectrum

    def _of(self, axis: int, kind: str) -> Tensor:
        return self.get_buffer(f"{kind}{axis}")
