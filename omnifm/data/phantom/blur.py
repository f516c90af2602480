"""The limited sharpness of every scanner."""

from __future__ import annotations

import math

import numpy as np

from omnifm.data.phantom.anatomy import Array

FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def blur(image: Array, fwhm: float, spacing: tuple[float, ...]) -> Array:
    """Return the image ``(*spatial)`` after a Gaussian of full width at half maximum ``fwhm`` mm."""
    from scipy.ndimage import gaussian_filter

    sigma = [fwhm / FWHM_PER_SIGMA / step for step in spacing]
    return np.asarray(gaussian_filter(image, sigma, mode="nearest", truncate=3.0), dtype=np.float32)
