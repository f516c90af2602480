"""Arrays of NumPy (``.npy``), never unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omnifm.data.limits import MOST_VOXELS, check_extent
from omnifm.data.reading.medical_image import MedicalImage, as_stored, type_range
from omnifm.data.reading.nifti import SMALLER
from omnifm.utils.errors import DataError, first_line


def read_array(path: Path) -> MedicalImage:
    """Return an array: ``(height, width)`` or ``(depth, height, width)``, or with a last axis of 3 colours.

    What has three axes, of which the last is 3, is an image in colour.

    Raises:
        DataError: it is damaged or too large, holds no plain numbers or has other axes.
    """
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # only the header is read
        check_extent(path, mapped.shape, MOST_VOXELS * 3, "numbers", SMALLER)
        values = np.array(mapped)
    except DataError:
        raise
    except Exception as error:  # a damaged header can end in any error of NumPy, or of Python's parser
        raise DataError(f"{path}: cannot be read as an array ({first_line(error)}). Replace the file.") from error
    colour = values.ndim in (3, 4) and values.shape[-1] == 3
    if values.ndim - colour not in (2, 3) or values.dtype.kind not in "biuf" or not values.size:
        raise DataError(
            f"{path}: holds {values.dtype} {values.shape}, but an image is (height, width) or (depth, height, width) "
            "of numbers, or with 3 colours last. Save it so."
        )
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
        limits: tuple[float, float] | None = (0.0, 1.0)
    else:
        limits = type_range(values)
    return MedicalImage(
        path,
        values,
        as_stored(values.shape[: values.ndim - colour]),
        colour=colour,
        value_range=limits,
        files=(path,),
    )
