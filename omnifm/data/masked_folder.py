"""Images and masks of one region in a folder, as many sets are published (e.g. CHASE_DB1, MoNuSeg)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from torch import Tensor

from omnifm.data.cache.prepared_rows import Rows, prepared_once
from omnifm.data.image_folder import read_image
from omnifm.data.images import resize, to_channels, to_unit
from omnifm.data.path_patterns import PathPattern
from omnifm.data.patients import PatientPattern, patient_of
from omnifm.data.regions import warn_of_empty
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.data.tile_folder import repeated
from omnifm.data.tiles import windows_of
from omnifm.utils.errors import DataError
from omnifm.utils.settings import CountOrZero, Text, settings


def _of_each_image(pattern: str) -> str:
    if "{name}" not in pattern:
        raise ValueError(f"{pattern!r} must hold {{name}}, or all images would share one mask")
    return pattern


_EMPTY = "its mask is empty"
MaskPattern = Annotated[str, AfterValidator(_of_each_image)]


@settings
class MaskedFolderSource:
    """Images below ``<root>/<folder>``, each with a mask of ``region``.

    ``images`` is a glob pattern below the folder, such as ``images/*.jpg``; ``masks`` is the path of an image's mask,
    also below it: ``{name}`` stands for the image's file name without its ending. A mask has two values, of which the
    higher is the region; of one with more (a JPEG has them) ``threshold`` (1 to 255) is its lowest value.
    Sources with the same ``region`` share it. ``tile`` cuts images into squares of that many pixels, as many as fit,
    each of which is then an example of the same patient; 0 leaves them whole. A mask is shrunk as its image is, and a
    pixel belongs to the region if half of it does. ``limit`` takes at most that many images, evenly spaced (0: all).
    ``patient_pattern`` is a regular expression whose one group, found in the image's path below the folder, is the
    patient; empty, each image is its own. ``name`` is the institution's, or the folder's. No split is published.
    """

    folder: str
    modality: Text
    region: Text
    images: PathPattern
    masks: MaskPattern
    kind: Literal["masked_folder"] = "masked_folder"
    threshold: Annotated[int, Field(ge=0, le=255)] = 0
    tile: CountOrZero = 0
    limit: CountOrZero = 0
    patient_pattern: PatientPattern = ""
    name: str = ""

    def load(self, loading: Loading) -> SourceTable:
        """Read every image with its mask, and cut it into tiles."""
        folder = loading.root / self.folder
        paths = sorted(folder.glob(self.images))
        if not paths:
            raise DataError(f"{folder}: holds no image {self.images!r}. Put the set there, or correct folder, images.")
        institution = self.name or folder.name
        pairs = [self._pair(paths[index], folder) for index in evenly_spaced(len(paths), self.limit)]

        def make(number: int) -> Iterator[Rows]:
            image, mask = self._read(*pairs[number])
            note = "" if mask.any() else _EMPTY
            for rows, columns in windows_of(pairs[number][0], image.shape[2], image.shape[3], self.tile):
                tile = resize(to_channels(image[..., rows, columns], loading.channels), loading.size).clamp(0, 1)
                region = resize(mask[..., rows, columns], loading.size) >= 0.5
                yield Rows({"image": tile, "mask": region.to(torch.uint8)}, note)
                note = ""

        prepared = prepared_once(loading, self, pairs, make)
        warn_of_empty([str(pairs[number][0]) for number, note in prepared.notes if note == _EMPTY], self.region)
        patients = [f"{institution}/{patient_of(path, folder, self.patient_pattern)}" for path, _ in pairs]
        rows = sum(prepared.counts)
        return SourceTable(
            fields=prepared.fields,
            label_names=(self.region,),
            patients=repeated(patients, prepared.counts),
            modalities=(self.modality,) * rows,
            institutions=(institution,) * rows,
        )

    def _pair(self, path: Path, folder: Path) -> tuple[Path, Path]:
        """Return the files of an image and its mask."""
        beside = folder / self.masks.replace("{name}", path.stem)
        if not beside.is_file():
            raise DataError(f"{path}: there is no mask {beside}. Put it there, or correct masks = {self.masks!r}.")
        return path, beside

    def _read(self, path: Path, beside: Path) -> tuple[Tensor, Tensor]:
        """Return image and mask, ``(1, 1 or 3, h, w)`` and ``(1, 1, h, w)`` float32 in [0, 1]."""
        image, mask = read_image(path), read_image(beside)
        if image.shape[:2] != mask.shape[:2]:
            raise DataError(
                f"{beside}: the mask has {mask.shape[0]} x {mask.shape[1]} pixels, but its image {path.name} "
                f"{image.shape[0]} x {image.shape[1]}. Replace one of them."
            )
        planes = to_unit(image[..., np.newaxis] if image.ndim == 2 else image).permute(2, 0, 1)[None]
        return planes, torch.from_numpy(self._inside(mask, beside).astype(np.float32))[None, None]

    def _inside(self, mask: NDArray[Any], path: Path) -> NDArray[np.bool_]:
        if mask.ndim == 3:
            mask = mask.max(axis=2)
        if self.threshold:
            return np.asarray(mask >= self.threshold)
        values = np.unique(mask)
        if len(values) > 2:
            raise DataError(
                f"{path}: a mask has two values, and this has {len(values)}. Where it was saved as JPEG, or is grey "
                "for another reason, set threshold = 128; a map of several labels needs one mask for each."
            )
        return np.asarray(mask > (values[0] if len(values) == 2 else 0))
