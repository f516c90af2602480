"""A folder of large images, cut into tiles, without labels: histology, for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from omnifm.data.image_folder import SUFFIXES, read_image
from omnifm.data.images import prepare
from omnifm.data.path_patterns import PathPattern
from omnifm.data.patients import PatientPattern, patient_of
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.data.tiles import windows_of
from omnifm.utils.errors import DataError
from omnifm.utils.settings import CountOrZero, Text, settings


@settings
class TileFolderSource:
    """Images of one modality at ``<root>/<folder>/<pattern>``, cut into tiles of ``tile`` pixels.

    ``pattern`` is a glob below the folder (``**/*.png``). ``tile`` is the side of a tile, at least ``data.size``, to
    which it is shrunk: nothing is enlarged, which would invent detail; 0 takes each image as a whole. ``tiles`` takes
    at most that many of each image, evenly spaced (0: all). ``name`` is the institution's; empty, it is the folder's.
    ``patient_pattern`` is a regular expression whose one group, found in the path below the folder (with ``/``), is the
    patient; empty, each image is its own patient. All tiles of an image belong to its patient. No split is published.
    """

    folder: str
    modality: Text
    kind: Literal["tile_folder"] = "tile_folder"
    pattern: PathPattern = "*"
    tile: CountOrZero = 0
    tiles: CountOrZero = 0
    name: str = ""
    patient_pattern: PatientPattern = ""

    def __post_init__(self) -> None:
        check_tiles(self.tile, self.tiles)

    def load(self, loading: Loading) -> SourceTable:
        """Read and cut the images."""
        folder = loading.root / self.folder
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder. Put the images there, or correct folder.")
        paths = sorted(path for path in folder.glob(self.pattern) if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise DataError(
                f"{folder}: holds no image that matches pattern = {self.pattern!r} ({', '.join(SUFFIXES)}). "
                "Put the images there, or correct pattern."
            )
        institution = self.name or folder.name
        image, counts = cut(paths, self.tile, self.tiles, loading)
        patients = [f"{institution}/{patient_of(path, folder, self.patient_pattern)}" for path in paths]
        rows = len(image)
        return SourceTable(
            fields={"image": image},
            label_names=(),
            patients=repeated(patients, counts),
            modalities=(self.modality,) * rows,
            institutions=(institution,) * rows,
        )


def check_tiles(tile: int, tiles: int) -> None:
    """Raise ValueError where whole images are to give several tiles."""
    if tiles and not tile:
        raise ValueError(f"tiles = {tiles}, but tile = 0 takes images as a whole; give the side of a tile")


def cut(paths: Sequence[Path], tile: int, tiles: int, loading: Loading) -> tuple[Tensor, list[int]]:
    """Return the tiles of all images, ``(rows, channels, size, size)`` float32 in [0, 1], and each image's number.

    Raises:
        DataError: an image cannot be read, or is smaller than a tile, or tiles are smaller than ``loading.size``.
    """
    if 0 < tile < loading.size:
        raise DataError(
            f"tile = {tile} is smaller than data.size = {loading.size}: its tiles would be enlarged, which invents "
            f"detail. Set tile = {loading.size} or more, or data.size = {tile}."
        )
    made = [torch.cat(list(_tiles(path, tile, tiles, loading))) for path in paths]
    return torch.cat(made), [len(images) for images in made]


def repeated(values: Sequence[str], counts: Sequence[int]) -> tuple[str, ...]:
    """Return each value as often as its count says."""
    return tuple(value for value, count in zip(values, counts, strict=True) for _ in range(count))


def _tiles(path: Path, tile: int, tiles: int, loading: Loading) -> Iterator[Tensor]:
    image = read_image(path)
    height, width = image.shape[:2]
    if min(height, width) < loading.size:
        raise DataError(
            f"{path}: has {width} x {height} pixels, less than data.size = {loading.size}; to enlarge it would invent "
            "detail. Lower data.size, or remove the image."
        )
    for place in windows_of(path, height, width, tile, tiles):
        yield prepare(image[place][np.newaxis], loading.size, loading.channels)
