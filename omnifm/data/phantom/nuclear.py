"""PET and SPECT: tracer uptake, few counts, a wide point spread."""

from __future__ import annotations

import numpy as np

from omnifm.data.phantom.anatomy import Array
from omnifm.data.phantom.tissues import Tissue

FILTER = {"PET": 4.0, "SPECT": 7.0}
"""Smoothing by the reconstruction, FWHM in mm; chosen by us."""
BRIGHTNESS = 0.75
"""The grey value of the nominal grey matter."""


def uptake(tissues: tuple[Tissue, ...], modality: str) -> Array:
    """Return the tracer in each tissue ``(tissues,)``, white matter about 1."""
    return np.array([t.fdg if modality == "PET" else t.flow for t in tissues], dtype=np.float32)


def counted(expected: Array, rng: np.random.Generator) -> Array:
    """Return Poisson counts, ``expected`` on average."""
    return rng.poisson(np.maximum(expected, 0)).astype(np.float32)
