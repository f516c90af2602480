"""DICOM images as wholes: a file, or the files of a series, placed in the patient by their headers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnifm.data.limits import MOST_VOXELS, check_extent
from omnifm.data.reading.dicom import (
    Frames,
    frames_of,
    group_of,
    holds_image,
    quiet,
    read_frames,
    read_header,
    widest,
    window_of,
)
from omnifm.data.reading.files import is_dicom, is_litter
from omnifm.data.reading.medical_image import FileGrid, MedicalImage, as_stored
from omnifm.data.reading.raster import SHRINK
from omnifm.data.reading.spatial import check_affine, placed_volume
from omnifm.utils.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM counts to the patient's left and back
_GAP = 1.5
"""A step from one slice to the next that is this much longer than the usual one leaves a slice out."""


class _Place(NamedTuple):
    """Where a frame lies: mm (left, posterior, superior) of its first pixel, and along a row and a column."""

    position: NDArray[np.float64] | None
    directions: NDArray[np.float64]
    spacing: tuple[float, float]


def read_dicom(path: Path) -> MedicalImage:
    """Return the image in a file: ``(rows, columns)``, or a volume of its frames.

    Frames that the header places in the patient are sorted from below to above; others (of a cine loop, for one) stay
    in their order.
    """
    header = read_header(path)
    with quiet(path):
        places = [_place(header, frame) for frame in range(frames_of(header))]
    return _image(path, [path], [header], read_frames(path), places)


def read_series(folder: Path) -> MedicalImage:
    """Return the volume of a series, sorted by the positions of its slices.

    Args:
        folder: of the series; names it in messages.

    Raises:
        DataError: there is no DICOM, or several series, a slice is missing or there twice, or a file is damaged.
    """
    found = (path for path in sorted(folder.iterdir()) if is_dicom(path) and not is_litter(path))
    paths = [path for path in found if holds_image(path)]
    if not paths:
        raise DataError(f"{folder}: is a folder without DICOM. Name an image, or put the files of one series there.")
    headers = [read_header(path) for path in paths]
    with quiet(folder):
        if len(paths) == 1:
            return read_dicom(paths[0])
        series = {(str(header.get("SeriesInstanceUID")), header.Rows, header.Columns) for header in headers}
        if len(series) > 1 or any(frames_of(header) > 1 for header in headers):
            raise DataError(
                f"{folder}: holds {len(series)} series of DICOM images, or one of several sizes or with several frames "
                "a file, and not the slices of one volume. Put each series in a folder of its own."
            )
        check_extent(folder, (len(paths), headers[0].Rows, headers[0].Columns), MOST_VOXELS, "voxels", SHRINK)
        places = [_place(header, 0) for header in headers]
        numbers = [int(header.get("InstanceNumber") or 0) for header in headers]
    order = sorted(range(len(paths)), key=lambda index: (numbers[index], paths[index].name))
    read = [read_frames(paths[index]) for index in order]
    if len({(frames.colour, frames.values.shape) for frames in read}) > 1:
        raise DataError(f"{folder}: some of its images are in colour, others grey. Put each series in its own folder.")
    whole = Frames(
        np.concatenate([frames.values for frames in read]),
        read[0].colour,
        widest([frames.value_range for frames in read]),
    )
    chosen = [paths[index] for index in order]
    return _image(folder, chosen, [headers[index] for index in order], whole, [places[index] for index in order])


def _image(
    path: Path, files: list[Path], headers: list[Dataset], frames: Frames, places: list[_Place | None]
) -> MedicalImage:
    """Put frames together, placed if all of them are."""
    header = headers[0]
    with quiet(path):
        known: dict[str, Any] = {
            "modality": str(header.get("Modality") or ""),
            "window": window_of(header),
            "value_range": frames.value_range,
        }
    if len(frames.values) == 1:
        return _slice(path, frames, places[0], header, known)
    located = [place for place in places if place is not None and place.position is not None]
    if len(located) < len(places) or len({tuple(np.round(place.directions.ravel(), 3)) for place in located}) > 1:
        grid = as_stored(frames.values.shape[:3])
        return MedicalImage(path, frames.values, grid, colour=frames.colour, files=tuple(files), **known)
    order, affine = _stacked(path, located)
    check_affine(path, affine)
    values = frames.values[order]
    known["files"] = tuple(files[index] for index in order) if len(files) > 1 else tuple(files)
    turned = values.transpose(2, 1, 0, *range(3, values.ndim))
    return placed_volume(path, turned, affine, **known)


def _slice(path: Path, frames: Frames, place: _Place | None, header: Dataset, known: dict[str, Any]) -> MedicalImage:
    """Return a single image as it is shown, with its place where it has one."""
    values = frames.values[0]
    rows, columns = values.shape[:2]
    if place is None:
        grid, affine = as_stored((rows, columns)), None
    else:
        grid, affine = FileGrid((columns, rows, 1), (2, 1, 0), (False,) * 3), None
        if place.position is not None:
            normal = np.cross(*place.directions) * float(header.get("SliceThickness") or 1.0)
            affine = _affine(place, normal)
            check_affine(path, affine)
        else:
            grid = as_stored((rows, columns))
    spacing = None if place is None else place.spacing
    return MedicalImage(
        path, values, grid, colour=frames.colour, spacing=spacing, affine=affine, files=(path,), **known
    )


def _place(header: Dataset, frame: int) -> _Place | None:
    """Return where a frame lies, or None where the header does not say how far its pixels are apart."""
    measures = group_of(header, frame, "PixelMeasuresSequence")
    spacing = measures.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    if not spacing or len(spacing) != 2 or not all(float(step) > 0 for step in spacing):
        return None
    steps = (float(spacing[0]), float(spacing[1]))
    if frames_of(header) > 1 and "PerFrameFunctionalGroupsSequence" not in header:
        return _Place(None, np.eye(2, 3), steps)  # what the header says is where the first frame lies
    position = group_of(header, frame, "PlanePositionSequence").get("ImagePositionPatient")
    directions = group_of(header, frame, "PlaneOrientationSequence").get("ImageOrientationPatient")
    if not position or not directions or len(position) != 3 or len(directions) != 6:
        return _Place(None, np.eye(2, 3), steps)
    return _Place(np.asarray(position, np.float64), np.asarray(directions, np.float64).reshape(2, 3), steps)


def _stacked(path: Path, places: list[_Place]) -> tuple[list[int], NDArray[np.float64]]:
    """Return the order of the slices along their normal, and the affine ``(4, 4)`` of the volume.

    Raises:
        DataError: two slices are at one place, or one is missing.
    """
    positions = np.stack([place.position for place in places if place.position is not None])
    heights = positions @ np.cross(*places[0].directions)
    order = [int(index) for index in np.argsort(heights, kind="stable")]
    steps = np.diff(heights[order])
    usual = float(np.median(steps))
    if not usual > 0 or steps.min() < usual / 10:
        raise DataError(
            f"{path}: several of its {len(places)} images are at one place, so it holds several volumes (phases or "
            "echoes). Put each volume in a folder of its own."
        )
    if steps.max() > _GAP * usual:
        raise DataError(
            f"{path}: of its slices, {usual:.3g} mm apart, some are missing: there is a gap of {steps.max():.3g} mm. "
            "Export the series again."
        )
    first = places[order[0]]
    step = (positions[order[-1]] - positions[order[0]]) / (len(order) - 1)
    return order, _affine(first, step)


def _affine(place: _Place, step: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, 0] = place.directions[0] * place.spacing[1]  # along a row, from column to column
    affine[:3, 1] = place.directions[1] * place.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = place.position
    return _TO_RAS @ affine
