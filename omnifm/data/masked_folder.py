"""Images and their masks in a folder, as many sets are published (e.g. CHASE_DB1, MoNuSeg)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from omnifm.data.cache.prepared_rows import ItemRows, prepared_once
from omnifm.data.columns import as_tensor
from omnifm.data.images import to_channels
from omnifm.data.mask_paths import MaskPattern, masks_of_images
from omnifm.data.mask_regions import Region, check_same_grid, names_of, one_region, regions_in
from omnifm.data.path_patterns import PathPattern
from omnifm.data.patients import PatientPattern, patient_of
from omnifm.data.published_split import published_split
from omnifm.data.reading import MedicalImage
from omnifm.data.reading.files import files_at, images_among, warn_of_others
from omnifm.data.reading.intensity import Intensity
from omnifm.data.reading.prepare import resized
from omnifm.data.regions import warn_of_empty
from omnifm.data.source import Loading
from omnifm.data.source_images import SourceImages, SourcePages, recall
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.data.tiles import windows_of
from omnifm.utils.errors import DataError
from omnifm.utils.settings import CountOrZero, Text, settings

_EMPTY = "empty"


@settings
class MaskedFolderSource:
    """Images below ``<root>/<folder>``, each with a mask of ``region``, or of several ``regions``.

    ``images`` is a glob pattern below the folder, such as ``images/*.jpg``; ``masks`` is the path of an image's mask,
    also below it, in which ``{name}`` stands for the image's file name without its ending, ``{parent}`` for the name
    of its folder and ``{folder}`` for the path of that; with ``*`` in it an image may have several masks, which are
    united. A mask has two values, of which the higher is the region; of one with more (a JPEG has them) ``threshold``
    (1 to 255) is its lowest value. Of a mask with several regions ``regions`` names each by its colours or values.
    Sources with the same region share it. ``tile`` cuts images into squares of that many pixels, as many as fit,
    each of which is then an example of the same patient; 0 leaves them whole. A mask is shrunk as its image is, and a
    pixel belongs to the region if half of it does. ``limit`` takes at most that many images, evenly spaced (0: all).
    ``patient_pattern`` is a regular expression whose one group, found in the image's path below the folder, is the
    patient; empty, each image is its own. ``name`` is the institution's, or the folder's. ``intensity`` says how the
    numbers of images become intensities (without it ``data.intensity`` does); ``pages`` what is read of images with
    several pages or slices. Folders ``train``, ``val`` and ``test`` in the path are the published split.
    """

    folder: str
    modality: Text
    images: PathPattern
    masks: MaskPattern
    kind: Literal["masked_folder"] = "masked_folder"
    region: str = ""
    regions: tuple[Region, ...] = ()
    threshold: Annotated[int, Field(ge=0, le=255)] = 0
    tile: CountOrZero = 0
    limit: CountOrZero = 0
    patient_pattern: PatientPattern = ""
    name: str = ""
    intensity: Intensity | None = None
    pages: SourcePages = "refuse"

    def __post_init__(self) -> None:
        if bool(self.region) == bool(self.regions):
            raise ValueError("name the region that the masks show, as region, or several as regions, and not both")
        if self.regions and self.threshold:
            raise ValueError("threshold is for masks of one region: regions are named by their colours or values")
        if self.tile and self.pages == "volume":
            raise ValueError("tile cuts images, and not volumes: set pages = 'slices', or tile = 0")
        if self.regions:
            names_of(self.regions)

    def load(self, loading: Loading) -> SourceTable:
        """Read every image with its mask, and cut it into tiles."""
        folder = loading.root / self.folder
        paths, others = images_among(folder.glob(self.images), folder)
        masks_of = masks_of_images(paths, folder, self.masks)
        if not masks_of:
            raise DataError(f"{folder}: holds no image {self.images!r}. Put the set there, or correct folder, images.")
        warn_of_others(folder, others)
        names = list(masks_of)
        chosen = [names[index] for index in evenly_spaced(len(names), self.limit)]
        published = published_split(chosen, folder)
        reader = SourceImages(loading, self.modality, self.intensity, self.pages)
        institution = self.name or folder.name
        labels = names_of(self.regions) if self.regions else (self.region,)

        def make(number: int) -> Iterator[ItemRows]:
            path = chosen[number]
            image, mask = self._read(path, masks_of[path], reader)
            empty = "" if mask.any() else _EMPTY
            for place, (plane, drawn, spacing) in enumerate(self._parts(path, image, mask, reader)):
                steps = [math.nan] * (plane.dim() - 2) if spacing is None else [s / loading.size for s in spacing]
                rows = {
                    "image": resized(to_channels(plane, loading.channels), loading.size).clamp(0, 1),
                    "mask": (resized(drawn, loading.size) >= 0.5).to(torch.uint8),
                    "spacing": torch.tensor([steps], dtype=torch.float32),
                }
                yield ItemRows(rows, "" if place else f"{empty}/{reader.remark}")

        items = [[file for part in (path, *masks_of[path]) for file in files_at(part)] for path in chosen]
        prepared = prepared_once(loading, self, items, make)
        notes = {number: note.partition("/") for number, note in prepared.notes}
        warn_of_empty([str(chosen[number]) for number, (empty, _, _) in notes.items() if empty], " or ".join(labels))
        remarks = tuple((number, remark) for number, (_, _, remark) in notes.items())
        recall(replace(prepared, notes=remarks), chosen, [reader] * len(chosen))
        fields = dict(prepared.fields)
        fields["spacing"] = spacing = as_tensor(fields["spacing"])
        if spacing.isnan().any():
            del fields["spacing"]
        patients = [f"{institution}/{patient_of(path, folder, self.patient_pattern)}" for path in chosen]
        rows = len(spacing)
        return SourceTable(
            fields=fields,
            label_names=labels,
            patients=tuple(prepared.repeated(patients)),
            modalities=(self.modality,) * rows,
            institutions=(institution,) * rows,
            split=tuple(prepared.repeated(published)) if published else None,
        )

    def _read(self, path: Path, masks: Sequence[Path], reader: SourceImages) -> tuple[MedicalImage, NDArray[np.uint8]]:
        """Return the image and its regions ``(regions, *size)`` of 0 and 1, all masks of the image united."""
        image = reader.read(path)
        found = None
        for beside in masks:
            mask = reader.read(beside)
            check_same_grid(image, mask)
            mine = regions_in(mask, self.regions) if self.regions else one_region(mask, self.threshold)[np.newaxis]
            found = mine if found is None else np.maximum(found, mine)
        assert found is not None
        return image, found.astype(np.uint8)

    def _parts(
        self, path: Path, image: MedicalImage, mask: NDArray[Any], reader: SourceImages
    ) -> Iterator[tuple[Tensor, Tensor, list[float] | None]]:
        """Yield the rows of an image: tiles of it or of its slices, or the whole.

        Each is the image ``(1, 1 or 3, *size)`` in [0, 1], its regions ``(1, regions, *size)`` as float32, and the mm
        along each axis, where they are known.
        """
        units = reader.units(image)
        flat = len(units) > 1 or not image.is_volume
        drawn = [mask[:, place] for place in range(len(units))] if image.is_volume and flat else [mask]
        spacing = None if image.spacing is None else image.spacing[-2 if flat else -3 :]
        for unit, regions in zip(units, drawn, strict=True):
            values = torch.from_numpy(unit if image.colour else unit[..., np.newaxis])
            planes = values.movedim(-1, 0)[None]
            inside = torch.from_numpy(regions.astype(np.float32))[None]
            sides = planes.shape[2:]
            for rows, columns in windows_of(path, sides[-2], sides[-1], self.tile):
                part = planes[..., rows, columns]
                length = None if spacing is None else [s * n for s, n in zip(spacing, part.shape[2:], strict=True)]
                yield part, inside[..., rows, columns], length
