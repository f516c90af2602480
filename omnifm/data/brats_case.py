"""One patient of BraTS: which files there must be, what they must hold, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.reading.nifti import load_nifti
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

BRIGHT = 99.5
"""The percentile of the voxels above 0 that becomes 1."""
STANDARDISED = 0.1
"""A sequence with more than this share of negative values among those that are not 0 holds z-scores."""
DARKEST = 0.02
"""What the darkest of the brain becomes where it holds z-scores, so that it is told from what lies outside."""


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

    read = {key: load_nifti(path) for key, path in files.items()}
    for path, (values, _) in zip(files.values(), read.values(), strict=True):
        if values.ndim != 3:
            raise DataError(f"{path}: holds colours. Save it with one number a voxel.")
    (first, (known, affine)), *others = read.items()
    for key, (values, other) in others:
        _check_grid(files[key], values.shape, other, files[first], known.shape, affine)
    stack = [sequence_intensities(read[key][0], files[key]) for key in files if key != MASK]
    stack.append(_codes(read[MASK][0], files[MASK]).astype(np.float32))
    turned: Any = Orientation("LPS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(
        MetaTensor(torch.from_numpy(np.stack(stack)), affine=torch.from_numpy(affine))
    )
    spacing = np.linalg.norm(turned.affine.numpy()[:3, :3], axis=0)
    planes = turned.as_tensor().permute(0, 3, 2, 1).contiguous()
    return Case(planes[:-1], planes[-1].numpy().astype(np.uint8), tuple(float(step) for step in spacing[::-1]))


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


def sequence_intensities(values: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """Return a sequence in [0, 1]: 0 stays 0, which is what skull-stripped images have outside.

    Values above 0 are divided by their 99.5th percentile. Of a sequence that was standardised (z-scores), negative
    values are the darker half of the brain: it is read from the 0.5th to the 99.5th percentile of what is not outside.
    A few negative values, as resampling leaves at edges, become 0.
    """
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: holds values that are not finite. Replace the file.")
    inside = values[values > 0]
    if not len(inside):
        raise DataError(f"{path}: holds no value above 0, so there is nothing to see. Replace the file.")
    if np.count_nonzero(values < 0) > STANDARDISED * np.count_nonzero(values):
        return _standardised(values)
    with np.errstate(over="ignore"):
        return np.clip(values / np.float32(np.percentile(inside, BRIGHT)), 0, 1)


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return z-scores in [0, 1]; outside, which has the value of the corners, is 0, and the darkest inside above it."""
    corners = values[:: values.shape[0] - 1 or 1, :: values.shape[1] - 1 or 1, :: values.shape[2] - 1 or 1]
    brain = values != np.median(corners)
    low, high = np.percentile(values[brain], (100 - BRIGHT, BRIGHT))
    unit = DARKEST + (1 - DARKEST) * np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return np.where(brain, unit, 0).astype(np.float32)


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
