"""Cutting large images into square tiles, the same for an image and its masks."""

from __future__ import annotations

from pathlib import Path

from omnifm.data.subset import evenly_spaced
from omnifm.utils.errors import DataError

Window = tuple[slice, slice]
"""The rows and columns of a tile: ``image[window]``, ``mask[window]``."""


def windows(height: int, width: int, side: int, limit: int = 0) -> list[Window]:
    """Return the windows of as many whole square tiles as fit side by side, row by row, centred in the image.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        side: of a tile, in pixels; 0 for one window that is the whole image.
        limit: at most that many, evenly spaced (0: all).

    Raises:
        ValueError: the image is smaller than a tile.
    """
    if side == 0:
        return [(slice(0, height), slice(0, width))]
    if min(height, width) < side:
        raise ValueError(f"it has {width} x {height} pixels, less than a tile of {side} x {side}")
    found = [
        (slice(top, top + side), slice(left, left + side))
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]
    return [found[index] for index in evenly_spaced(len(found), limit)]


def windows_of(path: Path, height: int, width: int, side: int, limit: int = 0) -> list[Window]:
    """Return the :func:`windows` of the image in a file.

    Raises:
        DataError: the image is smaller than a tile; names the file.
    """
    try:
        return windows(height, width, side, limit)
    except ValueError as error:
        raise DataError(f"{path}: {error}. Lower tile, or remove the image.") from error


def _starts(length: int, side: int) -> range:
    count = length // side
    first = (length - count * side) // 2
    return range(first, first + count * side, side)
