"""DICOM: a file, of one frame or several, through pydicom. What a header says of the patient stays in this module."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnifm.data.limits import MOST_PIXELS, MOST_VOXELS, check_extent, check_regular
from omnifm.data.reading.medical_image import type_range
from omnifm.data.reading.raster import SHRINK
from omnifm.utils.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

WITHOUT_IMAGE = "is DICOM without an image (a report, a plan or a directory). Remove it."
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class Frames(NamedTuple):
    """What a file holds: ``values`` ``(frames, rows, columns)``, or with 3 colours last."""

    values: NDArray[Any]
    colour: bool
    value_range: tuple[float, float] | None


@contextmanager
def quiet(path: Path) -> Iterator[None]:
    """Turn whatever pydicom raises into one sentence, without its text: that can quote a patient's name."""
    logging.getLogger("pydicom").propagate = False  # its messages quote headers too
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            yield
    except DataError:
        raise
    except Exception as error:  # a damaged file can end in any error of pydicom and its decoders
        raise DataError(f"{path}: cannot be read as DICOM ({type(error).__name__}). Replace or remove it.") from None


def read_header(path: Path) -> Dataset:
    """Return the header of a file, without its pixels.

    Raises:
        DataError: it cannot be read, holds no image or too large a one.
    """
    from pydicom import dcmread

    check_regular(path)
    with quiet(path):
        header = dcmread(path, stop_before_pixels=True, force=True)
        if "Rows" not in header or "Columns" not in header:
            raise DataError(f"{path}: {WITHOUT_IMAGE}")
        sides = (int(header.Rows), int(header.Columns))
        check_extent(path, sides, MOST_PIXELS, "pixels", SHRINK)
        check_extent(path, (frames_of(header), *sides), MOST_VOXELS, "voxels", SHRINK)
    return header


def holds_image(path: Path) -> bool:
    """Return whether a DICOM file holds an image, and no report or plan; of a damaged one whoever reads it says so."""
    from pydicom import dcmread

    try:
        with quiet(path):
            return "Rows" in dcmread(path, stop_before_pixels=True, force=True, specific_tags=["Rows"])
    except DataError:
        return True


def frames_of(header: Dataset) -> int:
    """Return the number of frames."""
    return int(header.get("NumberOfFrames") or 1)


def group_of(header: Dataset, frame: int, name: str) -> Dataset:
    """Return the item of a functional group that holds for a frame, or what the header says of all frames."""
    for groups in (
        header.get("PerFrameFunctionalGroupsSequence", ())[frame:],
        header.get("SharedFunctionalGroupsSequence"),
    ):
        if groups and (items := groups[0].get(name)):
            return items[0]  # type: ignore[no-any-return]
    return header


def read_frames(path: Path) -> Frames:
    """Return the frames of a file: rescaled, MONOCHROME1 inverted, palettes and YBR turned into red, green, blue.

    Raises:
        DataError: it is damaged, or compressed in a way that nothing installed here can read.
    """
    from pydicom import dcmread

    with quiet(path):
        dataset = dcmread(path, force=True)
        if not any(name in dataset for name in _PIXELS):
            raise DataError(f"{path}: {WITHOUT_IMAGE}")
        stored = _decoded(path, dataset)
        colour = stored.ndim > 2 and int(dataset.get("SamplesPerPixel") or 1) > 1
        if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            from pydicom.pixels.processing import apply_color_lut

            stored, colour = apply_color_lut(stored, dataset)[..., :3], True
        frames = stored if stored.ndim == 3 + colour else stored[np.newaxis]
        if colour:
            return Frames(frames, colour, stored_range(frames, dataset))
        rescaled = [_rescaled(frame, dataset, number) for number, frame in enumerate(frames)]
        limits = widest([limits for _, limits in rescaled])
        values = np.stack([values for values, _ in rescaled])
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            low, high = limits or (values.min(), values.max())
            values = np.asarray(low + high - values).astype(values.dtype)
        return Frames(values, colour, limits)


def window_of(header: Dataset) -> tuple[float, float] | None:
    """Return the first window of a header, centre and width."""
    voi = group_of(header, 0, "FrameVOILUTSequence")
    found = [voi.get("WindowCenter"), voi.get("WindowWidth")]
    centre, width = (
        value[0] if isinstance(value, list | tuple) or hasattr(value, "append") else value for value in found
    )
    if centre is None or width is None or not float(width) > 0:
        return None
    return float(centre), float(width)


def _decoded(path: Path, dataset: Dataset) -> NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if not syntax:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        syntax = dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    decoder = get_decoder(syntax)
    remedy = "Install it: pip install 'omnifm[dicom]' (for JPEG of 12 bits pylibjpeg-libjpeg, which is under the GPL)."
    needs = f"{path}: is compressed as {syntax.name}, which needs a further package. {remedy}"
    if not decoder.is_available:
        raise DataError(needs)
    try:
        return dataset.pixel_array
    except RuntimeError as error:  # what there is decodes some files of this kind, but not this one
        if decoder.missing_dependencies:
            raise DataError(f"{needs} If it is there, the file is damaged.") from error
        raise


def _rescaled(stored: NDArray[Any], dataset: Dataset, frame: int) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Return the values of a frame by the header's table or slope, and their range."""
    from pydicom.pixels.processing import apply_modality_lut

    limits = stored_range(stored, dataset)
    if dataset.get("ModalityLUTSequence"):
        values = apply_modality_lut(stored, dataset)
        return values, type_range(values)
    item = group_of(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = item.get("RescaleSlope"), item.get("RescaleIntercept")
    if slope is None or intercept is None or (slope, intercept) == (1, 0):
        return stored, limits
    whole = stored.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer()
    if limits is not None:
        ends = apply_modality_lut(np.asarray(limits), item)
        limits = (float(min(ends)), float(max(ends)))
    return apply_modality_lut(stored, item).astype(np.int32 if whole else np.float32), limits


def stored_range(stored: NDArray[Any], dataset: Dataset) -> tuple[float, float] | None:
    """Return what the bits of a stored value can hold, or its type where some values need more bits than stated."""
    bits = int(dataset.get("BitsStored") or 0)
    if stored.dtype.kind not in "iu" or bits > 16:
        return None
    low, high = (0, 2**bits - 1) if stored.dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return (float(low), float(high)) if low <= stored.min() and stored.max() <= high else type_range(stored)


def widest(ranges: list[tuple[float, float] | None]) -> tuple[float, float] | None:
    """Return the range that holds all of these; None if one of them is not known."""
    known = [limits for limits in ranges if limits is not None]
    if len(known) < len(ranges):
        return None
    return min(low for low, _ in known), max(high for _, high in known)
