"""A folder of large images, cut into tiles, without labels: histology, for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from omnifm.data.cache.prepared_rows import ItemRows, PreparedRows, prepared_once
from omnifm.data.path_patterns import PathPattern
from omnifm.data.patients import PatientPattern, patient_of
from omnifm.data.published_split import published_split
from omnifm.data.reading.files import IMAGES, images_among, warn_of_others, without_masks
from omnifm.data.reading.intensity import Intensity
from omnifm.data.source import Loading
from omnifm.data.source_images import FlatPages, SourceImages, recall
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
    patient; empty, each image is its own patient. All tiles of an image belong to its patient. Folders ``train``,
    ``val`` and ``test`` in the path are the published split. ``intensity`` says how the numbers of the images become
    intensities (without it ``data.intensity`` does); ``pages`` what is read of images with several pages or slices.
    """

    folder: str
    modality: Text
    kind: Literal["tile_folder"] = "tile_folder"
    pattern: PathPattern = "*"
    tile: CountOrZero = 0
    tiles: CountOrZero = 0
    name: str = ""
    patient_pattern: PatientPattern = ""
    intensity: Intensity | None = None
    pages: FlatPages = "refuse"

    def __post_init__(self) -> None:
        check_tiles(self.tile, self.tiles)

    def load(self, loading: Loading) -> SourceTable:
        """Read and cut the images."""
        folder = loading.root / self.folder
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder. Put the images there, or correct folder.")
        found, others = images_among(folder.glob(self.pattern), folder)
        paths, masks = without_masks(found)
        if not paths:
            raise DataError(
                f"{folder}: holds no image that matches pattern = {self.pattern!r} ({IMAGES}). "
                "Put the images there, or correct pattern."
            )
        warn_of_others(folder, others, masks)
        institution = self.name or folder.name
        split = published_split(paths, folder)
        reader = SourceImages(loading, self.modality, self.intensity, self.pages)
        cut = prepared_tiles(loading, self, paths, self.tile, self.tiles, reader)
        patients = [f"{institution}/{patient_of(path, folder, self.patient_pattern)}" for path in paths]
        rows = sum(cut.counts)
        return SourceTable(
            fields=cut.fields,
            label_names=(),
            patients=tuple(cut.repeated(patients)),
            modalities=(self.modality,) * rows,
            institutions=(institution,) * rows,
            split=None if split is None else tuple(cut.repeated(split)),
        )


def check_tiles(tile: int, tiles: int) -> None:
    """Raise ValueError where whole images are to give several tiles."""
    if tiles and not tile:
        raise ValueError(f"tiles = {tiles}, but tile = 0 takes images as a whole; give the side of a tile")


def prepared_tiles(
    loading: Loading, source: object, paths: Sequence[Path], tile: int, tiles: int, reader: SourceImages
) -> PreparedRows:
    """Return the tiles of all images: the field ``image`` ``(rows, channels, size, size)``, float32 in [0, 1].

    Raises:
        DataError: an image cannot be read, or is smaller than a tile, or tiles are smaller than ``loading.size``.
    """
    if 0 < tile < loading.size:
        raise DataError(
            f"tile = {tile} is smaller than data.size = {loading.size}: its tiles would be enlarged, which invents "
            f"detail. Set tile = {loading.size} or more, or data.size = {tile}."
        )

    def make(number: int) -> Iterator[ItemRows]:
        image = torch.cat(list(_tiles(paths[number], tile, tiles, loading.size, reader)))
        yield ItemRows({"image": image}, reader.remark)

    prepared = prepared_once(loading, source, [(path,) for path in paths], make)
    recall(prepared, paths, [reader] * len(paths))
    return prepared


def _tiles(path: Path, tile: int, tiles: int, size: int, reader: SourceImages) -> Iterator[Tensor]:
    image = reader.read(path)
    height, width = image.size[-2:]
    if min(height, width) < size:
        raise DataError(
            f"{path}: has {width} x {height} pixels, less than data.size = {size}; to enlarge it would invent "
            "detail. Lower data.size, or remove the image."
        )
    for unit in reader.units(image):
        for place in windows_of(path, height, width, tile, tiles):
            yield reader.shaped(unit[place], colour=image.colour)
