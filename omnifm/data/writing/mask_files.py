"""Masks of regions as files: on the grid of the image, in a format of its family."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from omnifm.data.reading import MedicalImage
from omnifm.data.reading.files import is_dicom
from omnifm.utils.atomic_write import replacing

_log = logging.getLogger("omnifm")

# Of a picture with several regions: black, and colours that colour-blind readers tell apart too.
_PALETTE = (0, 0, 0, 239, 177, 24, 255, 92, 76, 66, 105, 208, 108, 197, 176, 164, 99, 242, 255, 138, 183)


def write_masks(stem: Path, image: MedicalImage, masks: NDArray[np.bool_], names: Sequence[str]) -> list[Path]:
    """Write the regions of an image, and return the files.

    Of DICOM, a segmentation object beside a NIfTI file, where its header places it; of other images with an affine a
    NIfTI file; of others a PNG. A map holds 0 outside, and the number of a region (from 1, in the order of ``names``)
    inside; of regions that overlap, that of the last. With one region a PNG is 255 inside. Where regions overlap, each
    has a file of its own too.

    Args:
        stem: the files' path without an ending.
        image: what the masks are of.
        masks: ``(regions, *size)``, in the size of the image.
        names: of the regions.
    """
    codes = np.zeros(masks.shape[1:], np.uint8 if len(masks) < 256 else np.uint16)
    for number, mask in enumerate(masks, start=1):
        codes[mask] = number
    found = [_write_map(stem, image, codes, len(names))]
    if len(masks) > 1 and (masks.sum(axis=0) > 1).any():
        for name, mask in zip(names, masks, strict=True):
            found.append(_write_map(stem.with_name(f"{stem.name}_{plain(name)}"), image, mask.astype(np.uint8), 1))
    if is_dicom((image.files or (image.path,))[0]):
        found += _write_object(stem, image, masks, names)
    return found


def plain(name: str) -> str:
    """Return a name as a part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "region"


def _write_map(stem: Path, image: MedicalImage, codes: NDArray[np.unsignedinteger], regions: int) -> Path:
    if image.affine is not None or image.is_volume:
        import nibabel

        path = stem.with_name(f"{stem.name}.nii.gz")
        affine = np.eye(4) if image.affine is None else image.affine
        values = image.to_file_grid(codes)
        with replacing(path) as temporary:
            nifti = nibabel.Nifti1Image(values, affine)
            nifti.header.set_xyzt_units("mm")
            temporary.write_bytes(_gzipped(nifti.to_bytes()))
        return path
    path = stem.with_name(f"{stem.name}.png")
    if regions == 1:
        picture = Image.fromarray((codes > 0).astype(np.uint8) * 255)
    else:
        picture = Image.fromarray(codes.astype(np.uint8))
        picture.putpalette(_PALETTE * (256 * 3 // len(_PALETTE)))
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")
    return path


def _gzipped(data: bytes) -> bytes:
    import gzip

    return gzip.compress(data, mtime=0)  # the same image gives the same bytes


def _write_object(stem: Path, image: MedicalImage, masks: NDArray[np.bool_], names: Sequence[str]) -> list[Path]:
    if importlib.util.find_spec("highdicom") is None:
        _log.warning("DICOM segmentation objects are written by highdicom, which is not installed: omnifm[dicom].")
        return []
    from omnifm.data.writing.dicom_seg import write_dicom_seg

    path = stem.with_name(f"{stem.name}.dcm")
    return [path] if write_dicom_seg(path, image, masks, names) else []
