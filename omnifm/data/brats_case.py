"""One patient of BraTS: which files there must be, what they must hold, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.limits import MOST_VOXELS, check_extent
from omnifm.utils.errors import DataError

BRATS_SEQUENCES = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "FLAIR"}
"""The sequences as BraTS spells them, and the modalities that they are."""

MASK = "seg"
LAYOUTS: tuple[dict[str, str], ...] = (
    {**{sequence: f"{{case}}_{sequence}.nii.gz" for sequence in BRATS_SEQUENCES}, MASK: "{case}_seg.nii.gz"},
    {
        "t1": "{case}-t1n.nii.gz",
        "t1ce": "{case}-t1c.nii.gz",
        "t2": "{case}-t2w.nii.gz",
        "flair": "{case}-t2f.nii.gz",
        MASK: "{case}-seg.nii.gz",
    },
    {
        "t1": "raw_bet/{case}_t1_bet.nii.gz",
        "t1ce": "raw_bet/{case}_t1c_bet.nii.gz",
        "t2": "raw_bet/{case}_t2_bet.nii.gz",
        "flair": "raw_bet/{case}_fla_bet.nii.gz",
        MASK: "fusion/mav.nii.gz",
    },
)
"""The paths of a case's files: BraTS to 2021 and FeTS, BraTS since 2023, BraTS Toolkit. ``.nii`` does as well."""

SMALLEST, LARGEST = 1e-3, 1e3
"""The spacing of voxels (mm) lies between these: others are damage."""

BRIGHT = 99.5
"""The percentile of the voxels above 0 that becomes 1."""


@dataclass(frozen=True)
class Case:
    """One patient, read.

    ``images`` ``(sequences, z, y, x)`` float32 in [0, 1] and ``codes`` ``(z, y, x)`` uint8: from below to above, front
    to back, and the patient's right to left, as radiologists look at slices. ``spacing`` in mm, an axis each.
    """

    images: Tensor
    codes: NDArray[np.uint8]
    spacing: tuple[float, ...]


def find_case(folder: Path, sequences: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of a case by sequence, the mask last, in whichever layout most of them are found.

    Raises:
        DataError: one is missing.
    """
    wanted = (*sequences, MASK)
    layouts = [{key: folder / layout[key].format(case=folder.name) for key in wanted} for layout in LAYOUTS]
    layouts += [{key: path.with_suffix("") for key, path in layout.items()} for layout in layouts]
    best = max(layouts, key=lambda layout: sum(path.is_file() for path in layout.values()))
    for key, path in best.items():
        if not path.is_file():
            what = "mask" if key == MASK else f"sequence {key!r}"
            raise DataError(f"{folder}: the {what} is missing. Put it at {path}, or remove the case.")
    return best


def read_case(files: dict[str, Path]) -> Case:
    """Read a case: turned to one orientation, each sequence divided by its bright voxels.

    Raises:
        DataError: a file cannot be read, is on another grid than the others, holds no image, or the mask holds values
            that are no label.
    """
    from monai.data.meta_tensor import MetaTensor  # takes seconds to import
    from monai.transforms.spatial.array import Orientation

    read = {key: _read(path) for key, path in files.items()}
    (first, (known, affine)), *others = read.items()
    for key, (values, other) in others:
        _check_grid(files[key], values.shape, other, files[first], known.shape, affine)
    stack = [_normalised(read[key][0], files[key]) for key in files if key != MASK]
    stack.append(_codes(read[MASK][0], files[MASK]).astype(np.float32))
    turned: Any = Orientation("LPS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(
        MetaTensor(torch.from_numpy(np.stack(stack)), affine=torch.from_numpy(affine))
    )
    spacing = np.linalg.norm(turned.affine.numpy()[:3, :3], axis=0)
    planes = turned.as_tensor().permute(0, 3, 2, 1).contiguous()
    return Case(planes[:-1], planes[-1].numpy().astype(np.uint8), tuple(float(step) for step in spacing[::-1]))


def _read(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the voxels ``(x, y, z)`` of a file and its affine ``(4, 4)``."""
    import nibabel

    try:
        with np.errstate(all="ignore"):  # what a damaged scale makes of the values is looked at below
            image: Any = nibabel.load(path)
            check_extent(path, image.shape, MOST_VOXELS, "voxels", "Resample it to a coarser grid, or remove the case.")
            values, affine = np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
    except DataError:
        raise
    except Exception as error:  # a damaged file can end in any error of nibabel, zlib or NumPy
        raise DataError(f"{path}: cannot be read as NIfTI ({_first_line(error)}). Replace the file.") from error
    if values.ndim != 3:
        raise DataError(f"{path}: is not one volume of three axes, but {' x '.join(map(str, values.shape))}.")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{path}: holds colours or complex numbers ({values.dtype}). Save it with one number a voxel.")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not _spans(affine):
        raise DataError(f"{path}: its affine places the voxels nowhere (not finite, or flat). Replace the file.")
    return values, affine


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _spans(affine: NDArray[np.float64]) -> bool:
    """Return whether the three axes are of a length that a voxel may have, and are not coplanar."""
    axes = affine[:3, :3]
    steps = np.linalg.norm(axes, axis=0)
    return bool((steps > SMALLEST).all() and (steps < LARGEST).all() and abs(np.linalg.det(axes / steps)) > 1e-6)


def _check_grid(
    path: Path,
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    other: Path,
    known: tuple[int, ...],
    placed: NDArray[np.float64],
) -> None:
    """Check that a file is on the grid of another of its case.

    Raises:
        DataError: it does not; says in what it differs.
    """
    remedy = f"in {other.name}. Register and resample the case to one grid."
    if shape != known:
        sizes = [" x ".join(map(str, size)) for size in (shape, known)]
        raise DataError(f"{path}: has {sizes[0]} voxels, but there are {sizes[1]} {remedy}")
    steps, expected = (np.linalg.norm(a[:3, :3], axis=0) for a in (affine, placed))
    if not np.allclose(steps, expected, rtol=1e-3):
        sizes = [" x ".join(f"{step:.4g}" for step in size) for size in (steps, expected)]
        raise DataError(f"{path}: its voxels have a spacing of {sizes[0]} mm, but it is {sizes[1]} mm {remedy}")
    if not np.allclose(affine, placed, atol=1e-2):
        raise DataError(f"{path}: its affine differs (orientation or origin) from that {remedy}")


def _normalised(values: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Return a sequence in [0, 1]: 0 stays 0 (skull-stripped images have it outside), what is below becomes 0."""
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: holds values that are not finite. Replace the file.")
    inside = values[values > 0]
    if not len(inside):
        raise DataError(f"{path}: holds no value above 0, so there is nothing to see. Replace the file.")
    with np.errstate(over="ignore"):
        return np.clip(values / np.float32(np.percentile(inside, BRIGHT)), 0, 1)


def _codes(values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    found = np.unique(values)
    if not np.isfinite(found).all():
        raise DataError(f"{path}: a mask holds whole numbers, but this some that are not finite. Replace the file.")
    if not np.array_equal(found, np.round(found)):
        raise DataError(
            f"{path}: a mask holds whole numbers, but this {found[found != np.round(found)][0]:g}, as after linear "
            "interpolation. Resample it with nearest-neighbour interpolation."
        )
    if unknown := [int(code) for code in found if code not in (0, 1, 2, 3, 4)]:
        raise DataError(f"{path}: unknown label {unknown[0]}. Known are 0, 1 (core), 2 (oedema), 4 or 3 (enhancing).")
    if {3, 4} <= set(found.tolist()):
        raise DataError(
            f"{path}: has labels 3 and 4, as BraTS had before 2017, where 3 was not enhancing. Turn 3 into 1."
        )
    return values.astype(np.uint8)
