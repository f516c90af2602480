"""The door: one function that reads an image of any format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from omnifm.data.limits import check_regular
from omnifm.data.reading.arrays import read_array
from omnifm.data.reading.dicom_series import read_dicom, read_series
from omnifm.data.reading.files import DICOM, first_bytes, suffix_of
from omnifm.data.reading.medical_image import MedicalImage, as_stored
from omnifm.data.reading.nifti import read_nifti
from omnifm.data.reading.nrrd import read_nrrd
from omnifm.data.reading.raster import read_raster
from omnifm.utils.errors import DataError

Pages = Literal["refuse", "volume", "first", "middle"]
"""What of an image with several pages, slices or frames is read: nothing, the volume, or one of them."""


def read_image(path: Path, pages: Pages = "volume", volume: int | None = None) -> MedicalImage:
    """Return the image or volume at a path, whatever its format: what is in a file says it, not its name.

    Args:
        path: a file, PNG, JPEG, BMP, GIF, WebP, PPM, TIFF, DICOM, NIfTI, NRRD or an array of NumPy; or the folder of a
            DICOM series.
        pages: what to read of several pages, slices or frames.
        volume: which volume of a NIfTI file with several, counted from 0.

    Raises:
        DataError: there is no such file, it is damaged or too large (see :mod:`omnifm.data.limits`), of no known
            format, or has several pages where ``pages`` is ``"refuse"``.
    """
    if path.is_dir():
        image = read_series(path)
    elif not path.exists():
        raise DataError(f"{path}: there is no such file. Correct its path, or put the file there.")
    else:
        check_regular(path)
        image = _read_file(path, volume)
    if not image.is_volume or pages == "volume":
        return image
    count = image.size[0]
    if pages == "refuse":
        raise DataError(
            f"{path}: has {count} pages or slices, and it is not said what to read of them. Set pages to 'volume', "
            "'first' or 'middle', or save one image a file."
        )
    return one_slice(image, 0 if pages == "first" else count // 2)


def one_slice(image: MedicalImage, index: int) -> MedicalImage:
    """Return the slice of a volume at a place of its first axis, as an image that no affine places."""
    values = image.values[index]
    size = image.size[1:]
    spacing = None if image.spacing is None else image.spacing[1:]
    return replace(image, values=values, grid=as_stored(size), spacing=spacing, affine=None)


def _read_file(path: Path, volume: int | None) -> MedicalImage:
    head = first_bytes(path)
    if head[128:132] == b"DICM" or suffix_of(path) in DICOM or head[:3] == b"\x08\0\x05" or head[:3] == b"\x08\0\0":
        return read_dicom(path)
    if head[344:348] in (b"n+1\0", b"ni1\0") or suffix_of(path) in (".nii", ".nii.gz"):
        return read_nifti(path, volume)
    if head[:4] == b"NRRD" or suffix_of(path) == ".nrrd":
        return read_nrrd(path)
    if head[:6] == b"\x93NUMPY" or suffix_of(path) == ".npy":
        return read_array(path)
    return read_raster(path)
