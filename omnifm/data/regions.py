"""The regions of a lesion by the codes of its parts: what is segmented where masks hold codes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger("omnifm")

TUMOUR = {"whole tumour": (1, 2, 3, 4), "tumour core": (1, 3, 4), "enhancing tumour": (3, 4)}
"""By the codes of BraTS: 1 necrotic or non-enhancing core, 2 oedema, 4 enhancing tumour (3 since 2023)."""


def regions_of(codes: NDArray[np.uint8], regions: Sequence[tuple[int, ...]]) -> NDArray[np.uint8]:
    """Return a mask for each region, 1 where one of its codes is: ``(regions, *size)`` of codes ``(*size)``."""
    return np.stack([np.isin(codes, region) for region in regions]).astype(np.uint8)


def warn_of_empty(images: Sequence[str], region: str) -> None:
    """Warn of images with an empty mask, in one line: the mask may not have been drawn yet."""
    if images:
        _log.warning(
            "%s and %d other images show no %s: their masks are empty. They are used as they are.",
            images[0],
            len(images) - 1,
            region,
        )
