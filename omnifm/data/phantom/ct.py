"""Computed tomography: Hounsfield units seen through the brain window."""

from __future__ import annotations

import numpy as np

from omnifm.data.phantom.anatomy import Array
from omnifm.data.phantom.tissues import Tissue

LEVEL, WIDTH = 40.0, 80.0
"""The brain window in Hounsfield units: 0 is black, 80 white."""


def hounsfield(tissues: tuple[Tissue, ...]) -> Array:
    """Return the CT number of each tissue, ``(tissues,)``."""
    return np.array([tissue.hu for tissue in tissues], dtype=np.float32)


def window(values: Array, level: float = LEVEL, width: float = WIDTH) -> Array:
    """Return Hounsfield units as grey values in [0, 1]."""
    return np.asarray(np.clip((values - (level - width / 2)) / width, 0, 1), dtype=np.float32)
