"""Volumes that an affine places in the patient: turned to one orientation, whatever the file's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnifm.data.reading.medical_image import FileGrid, MedicalImage, type_range
from omnifm.utils.errors import DataError

SMALLEST, LARGEST = 1e-3, 1e3
"""The spacing of voxels (mm) lies between these: others are damage."""


def check_affine(path: Path, affine: NDArray[np.float64]) -> None:
    """Check that an affine ``(4, 4)`` places voxels somewhere.

    Raises:
        DataError: it is not finite, or its axes are coplanar or of a length that no voxel has.
    """
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not _spans(affine):
        raise DataError(f"{path}: its affine places the voxels nowhere (not finite, or flat). Replace the file.")


def _spans(affine: NDArray[np.float64]) -> bool:
    """Return whether the three axes are of a length that a voxel may have, and are not coplanar."""
    axes = affine[:3, :3]
    steps = np.linalg.norm(axes, axis=0)
    return bool((steps > SMALLEST).all() and (steps < LARGEST).all() and abs(np.linalg.det(axes / steps)) > 1e-6)


def placed_volume(path: Path, values: NDArray[Any], affine: NDArray[np.float64], **header: Any) -> MedicalImage:
    """Return a volume turned so that it runs from below to above, front to back, and the patient's right to left.

    Args:
        path: the file.
        values: ``(i, j, k)``, or with red, green and blue as a last axis. One slice becomes ``(height, width)``; a
            coronal or sagittal one has the head on top.
        affine: ``(4, 4)`` to mm (right, anterior, superior).
        header: further fields of the image.
    """
    from nibabel.orientations import io_orientation

    placed = io_orientation(affine)  # of each axis of the file: whether it runs to the right, front or top, and +1, -1
    order = tuple(int(np.flatnonzero(placed[:, 0] == axis)[0]) for axis in (2, 1, 0))
    sides = [values.shape[axis] for axis in order]
    flat = sides.index(1) if 1 in sides else None
    ways = (-1 if flat else 1, -1, -1)  # up or, in one slice, down; to the back; to the left
    grid = FileGrid(
        shape=values.shape[:3],
        order=order,
        flipped=tuple(int(placed[axis, 1]) != way for axis, way in zip(order, ways, strict=True)),
    )
    turned = grid.from_file(values)
    steps = np.linalg.norm(affine[:3, :3], axis=0)[list(order)]
    if flat is not None:
        turned, steps = turned.squeeze(flat), np.delete(steps, flat)
    known = {"value_range": type_range(values) if values.dtype == np.uint8 else None, "files": (path,)} | header
    return MedicalImage(
        path,
        np.ascontiguousarray(turned),
        grid,
        colour=values.ndim == 4,
        spacing=tuple(float(step) for step in steps),
        affine=affine,
        **known,
    )
