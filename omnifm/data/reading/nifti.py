"""NIfTI (``.nii``, ``.nii.gz``), through nibabel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnifm.data.limits import MOST_VOXELS, check_extent
from omnifm.data.reading.medical_image import MedicalImage
from omnifm.data.reading.spatial import check_affine, placed_volume
from omnifm.utils.errors import DataError, first_line

SMALLER = "Resample it to a coarser grid, or remove it."


def read_nifti(path: Path, volume: int | None = None) -> MedicalImage:
    """Return the image in a file; see :func:`load_nifti`."""
    return placed_volume(path, *load_nifti(path, volume))


def load_nifti(path: Path, volume: int | None = None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the voxels ``(i, j, k)`` of a file, with red, green and blue as a last axis, and its affine ``(4, 4)``.

    Args:
        path: the file.
        volume: which of several volumes, counted from 0; None where there must be a single one.

    Raises:
        DataError: it is damaged or too large, there are several volumes, or voxels are no plain numbers.
    """
    import nibabel  # loads SciPy

    try:
        with np.errstate(all="ignore"):  # what a damaged scale makes of the values is looked at by who uses them
            image: Any = nibabel.load(path)
            check_extent(path, image.shape, MOST_VOXELS, "voxels", SMALLER)
            values = np.asanyarray(image.dataobj[_chosen(image.shape, volume, path)])
            affine = np.asarray(image.affine, dtype=np.float64)
    except DataError:
        raise
    except Exception as error:  # a damaged file can end in any error of nibabel, zlib or NumPy
        raise DataError(f"{path}: cannot be read as NIfTI ({first_line(error)}). Replace the file.") from error
    if values.dtype.names == ("R", "G", "B"):
        values = np.stack([values[name] for name in "RGB"], axis=-1)
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"{path}: holds complex numbers or transparent colours ({values.dtype}). Save it with one number a voxel, "
            "or with red, green and blue."
        )
    check_affine(path, affine)
    return values, affine


def _chosen(shape: tuple[int, ...], volume: int | None, path: Path) -> tuple[Any, ...]:
    """Return the index that takes one volume ``(i, j, k)`` out of a file."""
    sides, more = tuple(shape[:3]), tuple(shape[3:])
    axes = (slice(None),) * len(sides) + (np.newaxis,) * (3 - len(sides))
    several = [count for count in more if count != 1]
    if not several:
        return (*axes, *[0] * len(more))
    sizes = " x ".join(map(str, shape))
    if volume is None or len(several) > 1:
        raise DataError(
            f"{path}: is not one volume of three axes, but {sizes}. Save each volume in a file of its own, or say "
            "which one to read."
        )
    if not 0 <= volume < several[0]:
        raise DataError(f"{path}: has no volume {volume}, but is {sizes}: they are counted from 0.")
    return (*axes, *[volume if count != 1 else 0 for count in more])
