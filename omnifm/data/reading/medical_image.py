"""One image or volume as its file says, whatever the format of the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FileGrid:
    """How the axes of an image are stored in its file.

    ``shape`` are the sides of the file's own grid: ``(i, j, k)``, as NIfTI and ITK count, of what has an affine; else
    as the image has them. ``order`` are its axes in the order ``(depth, height, width)``, and ``flipped`` says for each
    of these whether it runs the other way in the file.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    flipped: tuple[bool, ...]

    def from_file(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values on the file's grid, with or without colours as a last axis, in the order of an image."""
        rest = tuple(range(len(self.order), values.ndim))
        return self._flip(values.transpose(*self.order, *rest))

    def to_file(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a mask of an image, ``(height, width)`` or ``(depth, height, width)``, on the grid of its file."""
        stored = self._flip(values.reshape([self.shape[axis] for axis in self.order]))
        return stored.transpose([self.order.index(axis) for axis in range(len(self.order))])

    def _flip(self, values: NDArray[Any]) -> NDArray[Any]:
        return values[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]


@dataclass(frozen=True)
class MedicalImage:
    """One image or volume in the numbers of its file.

    Attributes:
        path: the file, or the folder of a series.
        values: ``(height, width)`` or ``(depth, height, width)``, with a last axis of 3 where it is in ``colour``. The
            numbers are the file's own: of DICOM after its rescaling, with MONOCHROME1 inverted; palettes are resolved,
            and the orientation that EXIF states is obeyed. A volume with an affine runs from below to above, front to
            back, and the patient's right to left, as radiologists look at slices.
        colour: the last axis holds red, green and blue.
        spacing: mm from one voxel to the next, one number a spatial axis of ``values``, where the file says.
        affine: ``(4, 4)`` from the voxels ``(i, j, k)`` of the file's grid to mm (right, anterior, superior), as in
            NIfTI; None where the file places its voxels nowhere.
        grid: how the axes of ``values`` are stored in the file.
        modality: as DICOM's header says (``CT``, ``MR``, ``DX``); empty of other formats.
        window: centre and width for showing it, as the header says.
        value_range: the lowest and the highest number that type or header allow; None where they say nothing.
        files: the files it was read from; of a series one for each k of the file's grid.
    """

    path: Path
    values: NDArray[Any]
    grid: FileGrid
    colour: bool = False
    spacing: tuple[float, ...] | None = None
    affine: NDArray[np.float64] | None = None
    modality: str = ""
    window: tuple[float, float] | None = None
    value_range: tuple[float, float] | None = None
    files: tuple[Path, ...] = ()

    @property
    def size(self) -> tuple[int, ...]:
        """The sides of the spatial axes: ``(height, width)`` or ``(depth, height, width)``."""
        return self.values.shape[:-1] if self.colour else self.values.shape

    @property
    def is_volume(self) -> bool:
        """Whether it has three spatial axes."""
        return len(self.size) == 3

    @property
    def is_grey(self) -> bool:
        """Whether it has no colour, even if it is stored with three channels."""
        return not self.colour or bool((self.values == self.values[..., :1]).all())

    def to_file_grid(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return a mask of this image on the file's own grid.

        Of an image with an ``affine`` that is ``(i, j, k)``, so that ``nibabel.Nifti1Image(result, image.affine)`` lies
        on it; frame k of a DICOM series is ``result[:, :, k].T``. Of other images the mask is returned as it is.

        Args:
            mask: of the size of the image.

        Raises:
            ValueError: it is of another size.
        """
        if mask.shape != self.size:
            raise ValueError(f"{self.path}: is {self.size}, but its mask {mask.shape}")
        return self.grid.to_file(mask)


def as_stored(size: tuple[int, ...]) -> FileGrid:
    """Return the grid of an image whose axes are the file's own."""
    return FileGrid(size, tuple(range(len(size))), (False,) * len(size))


def type_range(values: NDArray[Any]) -> tuple[float, float] | None:
    """Return the range of a type of 8 or 16 bits; of others it says nothing about the values."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 2:
        return None
    limits = np.iinfo(values.dtype)
    return float(limits.min), float(limits.max)
