"""NRRD with its data in the same file (``.nrrd``), through pynrrd."""

from __future__ import annotations

import bz2
import io
import warnings
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnifm.data.limits import MOST_VOXELS, check_extent
from omnifm.data.reading.medical_image import MedicalImage, as_stored, type_range
from omnifm.data.reading.nifti import SMALLER
from omnifm.data.reading.spatial import check_affine, placed_volume
from omnifm.utils.errors import DataError, first_line

_MOST_BYTES = 16  # of a number of the header's type, and of what can precede the data
_SPACES = {"RAS": "right-anterior-superior", "LAS": "left-anterior-superior", "LPS": "left-posterior-superior"}


def read_nrrd(path: Path) -> MedicalImage:
    """Return the image in a file: of two or three axes, with one number or three colours a voxel.

    Raises:
        DataError: it is damaged or too large, has other axes, or its data are in another file.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            header, values = _read(path)
            spatial, colour = _axes(header, values.shape)
            values = np.moveaxis(values, colour, -1) if colour is not None else values
            affine = _affine(header, spatial)
    except DataError:
        raise
    except Exception as error:  # a damaged file can end in any error of pynrrd, zlib or NumPy
        raise DataError(f"{path}: cannot be read as NRRD ({first_line(error)}). Replace the file.") from error
    sides = len(values.shape) - (colour is not None)
    if sides not in (2, 3) or (colour is not None and values.shape[-1] != 3) or values.dtype.kind not in "iuf":
        sizes = " x ".join(map(str, header["sizes"]))
        raise DataError(
            f"{path}: is no image of two or three axes with one number or three colours a voxel, but {sizes} "
            f"({header['type']}). Save each image in a file of its own."
        )
    if affine is not None and sides == 3:
        check_affine(path, affine)
        return placed_volume(path, values, affine)
    values = np.ascontiguousarray(values.transpose(*reversed(range(sides)), *range(sides, values.ndim)))
    steps = np.asarray(header.get("spacings", ()), dtype=np.float64)[::-1]
    return MedicalImage(
        path,
        values,
        as_stored(values.shape[:sides]),
        colour=colour is not None,
        spacing=tuple(map(float, steps)) if len(steps) == sides and np.isfinite(steps).all() else None,
        value_range=type_range(values) if values.dtype == np.uint8 else None,
        files=(path,),
    )


def _read(path: Path) -> tuple[Any, NDArray[Any]]:
    import nrrd

    with path.open("rb") as file:
        header = nrrd.read_header(file)
        if {"datafile", "data file"} & header.keys():
            raise DataError(f"{path}: its data are in another file, which is not read. Save both in one .nrrd file.")
        check_extent(path, tuple(header["sizes"]), MOST_VOXELS * 3, "numbers", SMALLER)
        most = (prod(int(side) for side in header["sizes"]) + 1) * _MOST_BYTES
        # pynrrd unpacks whatever there is, however much it becomes; here no more is than the header says.
        if header["encoding"] in ("gzip", "gz"):
            data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(file.read(), most)
        elif header["encoding"] in ("bzip2", "bz2"):
            data = bz2.BZ2Decompressor().decompress(file.read(), most)
        else:
            return header, nrrd.read_data(header, file)
        return header, nrrd.read_data(header | {"encoding": "raw"}, io.BytesIO(data))


def _axes(header: Any, shape: tuple[int, ...]) -> tuple[list[int], int | None]:
    """Return the spatial axes, and that of the colours where there is one."""
    if (directions := header.get("space directions")) is not None:
        rows = np.asarray([np.full(3, np.nan) if row is None else row for row in directions], dtype=np.float64)
        spatial = [axis for axis, row in enumerate(rows) if np.isfinite(row).all()]
    else:
        spatial = [axis for axis, kind in enumerate(header.get("kinds", [""] * len(shape))) if "color" not in kind]
    others = [axis for axis in range(len(shape)) if axis not in spatial]
    return spatial, others[0] if len(others) == 1 else None


def _affine(header: Any, spatial: list[int]) -> NDArray[np.float64] | None:
    """Return the affine ``(4, 4)`` to mm (right, anterior, superior), where the header names the directions."""
    space = str(header.get("space", ""))
    to_ras = {
        "right-anterior-superior": (1, 1, 1),
        "left-anterior-superior": (-1, 1, 1),
        "left-posterior-superior": (-1, -1, 1),
    }.get(_SPACES.get(space.upper(), space.lower()))
    if to_ras is None or "space directions" not in header or len(spatial) != 3:
        return None
    affine = np.eye(4)
    affine[:3, :3] = np.asarray([header["space directions"][axis] for axis in spatial], dtype=np.float64).T
    affine[:3, 3] = np.asarray(header.get("space origin", np.zeros(3)), dtype=np.float64)
    return np.diag([*to_ras, 1.0]) @ affine
