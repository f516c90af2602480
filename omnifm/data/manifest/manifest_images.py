"""From the files of one row of a manifest to what a network takes: images, masks and pairs, whole or in slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.colour import to_luminance_and_chroma
from omnifm.data.images import to_channels
from omnifm.data.mask_regions import Region, check_same_grid, one_region, regions_in
from omnifm.data.reading import IntensityRule, MedicalImage, read_image
from omnifm.data.reading.files import files_at
from omnifm.data.reading.prepare import resized
from omnifm.data.source import Loading
from omnifm.data.source_images import SourceImages, SourcePages
from omnifm.data.volumes import between
from omnifm.utils.errors import DataError


@dataclass(frozen=True)
class RowFiles:
    """The files of a row: of ``images`` each is a channel, where there are several; masks by the column they are in."""

    images: tuple[Path, ...]
    masks: dict[str, tuple[Path, ...]]
    pair: Path | None
    modality: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, those of a series one by one."""
        masks = [path for paths in self.masks.values() for path in paths]
        return tuple(file for path in (*self.images, *masks, *filter(None, [self.pair])) for file in files_at(path))


@dataclass(frozen=True)
class RowImages:
    """What the files of a row hold, as they were read and found to fit together.

    ``drawn`` is where each region is, ``(regions, *size)`` of 0 and 1 in the size of the image, None without regions.
    """

    images: tuple[MedicalImage, ...]
    masks: tuple[MedicalImage, ...] = ()
    pair: MedicalImage | None = None
    drawn: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class RowReader:
    """Reads rows.

    Args:
        loading: the form in which images come out.
        intensity: the rule of this source; None for that of all data.
        pages: what is made of images with several pages, and of volumes.
        slices: how many slices of a volume are taken.
        regions: those of maps of labels or colours.
        columns: the columns of masks, each of which is a region where ``regions`` names none; empty: what masks show is
            not looked at.
        threshold: from which value on a mask shows its region, 0 for its higher value.
    """

    loading: Loading
    intensity: IntensityRule | None = None
    pages: SourcePages = "refuse"
    slices: int = 0
    regions: Sequence[Region] = ()
    columns: Sequence[str] = ()
    threshold: int = 0

    @cached_property
    def _by_modality(self) -> dict[str, SourceImages]:
        return {}

    def _images(self, modality: str) -> SourceImages:
        made = self._by_modality
        if modality not in made:
            made[modality] = SourceImages(self.loading, modality, self.intensity, self.pages)
        return made[modality]

    def remark(self, modality: str) -> str:
        """Return what looked wrong with the last image of a modality."""
        return self._images(modality).remark

    def recall(self, files: RowFiles, remark: str) -> None:
        """Count an image with the :meth:`remark` that there was when it was read."""
        self._images(files.modality).recall(files.images[0], remark)

    def warn(self) -> None:
        """Say in one line each which images look as if they were read by the wrong rule."""
        for images in self._by_modality.values():
            images.warn()

    def read(self, files: RowFiles) -> RowImages:
        """Read the files of a row, and check that they fit together.

        Raises:
            DataError: a file cannot be read, is of another size than the image, or is not what the settings say.
        """
        images = tuple(self._images(files.modality).read(path) for path in files.images)
        first = images[0]
        if self.pages == "volume" and not first.is_volume:
            raise DataError(f"{first.path}: is no volume, but axes = 3. Set axes = 2, or remove the row.")
        for other in images[1:]:
            _check_size(other, first, "another channel of the same image")
        if len(images) > 1 and (coloured := [image for image in images if image.colour]):
            raise DataError(
                f"{coloured[0].path}: is in colour, and cannot be one of several channels. Save it as grey."
            )
        masks, drawn = self._drawn(files, first)
        pair = None if files.pair is None else self._images(files.modality).read(files.pair)
        if pair is not None:
            _check_size(pair, first, "the image that it is paired with")
            if not pair.is_grey:
                raise DataError(
                    f"{pair.path}: is in colour, but the second of a pair must be grey: the colour of what is fused is "
                    "the first's. Save it as grey, or swap the two."
                )
        return RowImages(images, masks, pair, drawn)

    def _drawn(self, files: RowFiles, image: MedicalImage) -> tuple[tuple[MedicalImage, ...], NDArray[np.uint8] | None]:
        """Return the masks, and where each region is in them."""
        masks, parts = [], []
        for column, paths in files.masks.items():
            for path in paths:
                mask = read_image(path, "volume" if self.pages == "slices" else self.pages)
                check_same_grid(image, mask)
                masks.append(mask)
                if self.regions:
                    parts.append(regions_in(mask, self.regions))
                elif self.columns:
                    inside = one_region(mask, self.threshold)
                    parts.append(np.stack([inside & (column == name) for name in self.columns]).astype(np.uint8))
        return tuple(masks), np.maximum.reduce(parts) if parts else None

    def prepared(self, row: RowImages, modality: str) -> dict[str, Tensor]:
        """Return the fields of a row's examples: one, or a slice each.

        ``image`` ``(examples, channels, *size)`` float32 in [0, 1], and ``mask`` ``(examples, regions, *size)`` uint8
        or ``chroma`` ``(examples, 2, *size)``.

        Raises:
            DataError: an intensity cannot be told.
        """
        planes = [self._planes(image, modality) for image in row.images]
        image = torch.cat(planes)
        if row.pair is not None:
            image = torch.cat(
                [to_channels(image[None], 3)[0], to_channels(self._planes(row.pair, modality)[None], 1)[0]]
            )
        elif len(planes) == 1:
            image = to_channels(image[None], self.loading.channels)[0]
        mask = None if row.drawn is None else torch.from_numpy(row.drawn).float()
        examples = [image] if mask is None else [image, mask]
        if self.slices and row.images[0].is_volume:
            seen = (mask if mask is not None and mask.any() else image).flatten(2).amax(dim=(0, 2)) > 0
            heights = between(seen if seen.any() else torch.ones_like(seen), self.slices)
            examples = [one[:, heights].transpose(0, 1) for one in examples]
        else:
            examples = [one[None] for one in examples]
        shrunk = [resized(one, self.loading.size) for one in examples]
        fields = {"image": shrunk[0].clamp(0, 1)}
        if mask is not None:
            fields["mask"] = (shrunk[1] >= 0.5).to(torch.uint8)
        if row.pair is not None:
            luminance, fields["chroma"] = to_luminance_and_chroma(fields["image"][:, :3])
            fields["image"] = torch.cat([luminance, fields["image"][:, 3:]], dim=1)
        return fields

    def _planes(self, image: MedicalImage, modality: str) -> Tensor:
        """Return an image in [0, 1] and its own size, ``(1 or 3, *size)``."""
        units = self._images(modality).units(image)
        unit = torch.from_numpy(np.stack(units) if len(units) > 1 else units[0].reshape(image.values.shape))
        return unit.movedim(-1, 0) if image.colour else unit[None]


def _check_size(image: MedicalImage, other: MedicalImage, what: str) -> None:
    if image.size != other.size:
        sizes = [" x ".join(map(str, one.size)) for one in (image, other)]
        raise DataError(
            f"{image.path}: is {sizes[0]}, but {what}, {other.path.name}, is {sizes[1]}. Replace one, or bring both to "
            "one grid."
        )
