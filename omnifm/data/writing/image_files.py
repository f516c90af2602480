"""Predicted images as files: in the format family of the image that they were made from, and in its numbers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omnifm.data.reading import MedicalImage
from omnifm.data.reading.files import is_dicom, suffix_of
from omnifm.utils.atomic_write import replacing


def write_image(
    stem: Path, image: MedicalImage, unit: NDArray[np.float32], limits: tuple[float, float], scale: int = 1
) -> Path:
    """Write an image that was made of another, and return the file.

    Of an image with an affine a NIfTI file on a grid as many times as fine; of a DICOM image a derived DICOM image; of
    an array of NumPy an array; of others a PNG, of 16 bits where the image's numbers do not fit into 8.

    Args:
        stem: the file's path without an ending.
        image: what it was made of.
        unit: ``(*size)`` or with 3 colours last, in [0, 1].
        limits: the numbers of ``image`` that became 0 and 1.
        scale: how many times longer its last two axes are.
    """
    colour = unit.ndim > len(image.size)
    low, high = (0.0, 255.0) if colour else limits
    values = unit * np.float32(high - low) + np.float32(low)
    first = (image.files or (image.path,))[0]
    if is_dicom(first) and not image.is_volume and not colour:
        return _write_dicom(stem, first, values, scale)
    if image.affine is not None or image.is_volume:
        return _write_nifti(stem, image, values, scale)
    if suffix_of(image.path) == ".npy":
        path = stem.with_name(f"{stem.name}.npy")
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, values, allow_pickle=False)
        return path
    path = stem.with_name(f"{stem.name}.png")
    eight = colour or high <= 255
    with replacing(path) as temporary:
        top = 255 if eight else 65535
        Image.fromarray(np.clip(np.rint(values), 0, top).astype(np.uint8 if eight else np.uint16)).save(
            temporary, "PNG"
        )
    return path


def _write_nifti(stem: Path, image: MedicalImage, values: NDArray[np.float32], scale: int) -> Path:
    """Write a volume or a placed slice; ``scale`` divides the steps along rows and columns, whose outer edges stay."""
    import gzip

    import nibabel

    path = stem.with_name(f"{stem.name}.nii.gz")
    affine = np.eye(4) if image.affine is None else image.affine.copy()
    count = len(image.grid.order)
    fine = [1] * count
    for axis in image.grid.order[-2:]:
        fine[axis] = scale
    grid = [side * times for side, times in zip(image.grid.shape, fine, strict=True)]
    shown = values.reshape([grid[axis] for axis in image.grid.order] + list(values.shape[len(image.size) :]))
    turned = np.flip(shown, tuple(axis for axis, flip in enumerate(image.grid.flipped) if flip))
    turned = turned.transpose(*np.argsort(image.grid.order), *range(count, turned.ndim))
    for axis, times in enumerate(fine):
        if times > 1 and axis < 3:  # the centre of the first finer voxel lies inside the first coarse one
            affine[:3, 3] += affine[:3, axis] * ((1 / times - 1) / 2)
            affine[:3, axis] /= times
    with replacing(path) as temporary:
        temporary.write_bytes(
            gzip.compress(nibabel.Nifti1Image(np.ascontiguousarray(turned), affine).to_bytes(), mtime=0)
        )
    return path


def _write_dicom(stem: Path, first: Path, values: NDArray[np.float32], scale: int) -> Path:
    """Write a derived image of the same study, in a series of its own, uncompressed, with the source's rescaling."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    source = pydicom.dcmread(first)
    made: Any = copy.deepcopy(source)
    slope, intercept = float(made.get("RescaleSlope") or 1), float(made.get("RescaleIntercept") or 0)
    signed = int(made.get("PixelRepresentation") or 0) == 1
    kind = np.int16 if signed else np.uint16
    stored = np.rint((values - intercept) / slope)
    if made.get("PhotometricInterpretation") == "MONOCHROME1":  # values were inverted as they were read
        made.PhotometricInterpretation = "MONOCHROME2"
    stored = np.clip(stored, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
    made.Rows, made.Columns = stored.shape
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if spacing := made.get(keyword):
            setattr(made, keyword, [float(step) / scale for step in spacing])
    made.ImageType = ["DERIVED", "SECONDARY", *list(made.get("ImageType") or [])[2:]]
    made.SOPInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.DerivationDescription = f"Enlarged {scale} times by a neural network"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue", "LossyImageCompression"):
        if keyword in made:
            delattr(made, keyword)
    made.PixelData = stored.tobytes()
    made["PixelData"].VR = "OW"
    path = stem.with_name(f"{stem.name}.dcm")
    with replacing(path) as temporary:
        made.save_as(temporary, enforce_file_format=True)
    return path
