"""From the files of one row of a manifest to what a network takes: images, masks and pairs, whole or in slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.colour import to_luminance_and_chroma
from omnifm.data.images import resize, to_channels
from omnifm.data.mask_regions import MaskRegions
from omnifm.data.reading import IntensityRule, MedicalImage, Pages, read_image
from omnifm.data.reading.prepare import unit_planes
from omnifm.data.volumes import between, shrunk_volume
from omnifm.utils.errors import DataError


@dataclass(frozen=True)
class ImageForm:
    """How images are read, and what they become: ``axes``, ``slices`` and ``pages`` as in the settings of a source."""

    size: int
    channels: int
    intensity: IntensityRule
    axes: int
    slices: int
    pages: Pages


@dataclass(frozen=True)
class RowFiles:
    """The files of a row: of ``images`` each is a channel, where there are several; masks by the column they are in."""

    images: tuple[Path, ...]
    masks: dict[str, tuple[Path, ...]]
    pair: Path | None
    modality: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        masks = tuple(path for paths in self.masks.values() for path in paths)
        return (*self.images, *masks, *([self.pair] if self.pair else []))


@dataclass(frozen=True)
class RowImages:
    """What the files of a row hold, as they were read and found to fit together.

    ``mask`` is ``(regions, *size)`` bool, in the size of the image.
    """

    images: tuple[MedicalImage, ...]
    masks: tuple[MedicalImage, ...]
    mask: NDArray[np.bool_] | None
    pair: MedicalImage | None


def read_row(files: RowFiles, form: ImageForm, regions: MaskRegions | None) -> RowImages:
    """Read the files of a row, and check that they fit together.

    Raises:
        DataError: a file cannot be read, is of another size than the image, or is not what the settings say.
    """
    pages: Pages = "volume" if form.axes == 3 or form.slices else form.pages
    images = tuple(read_image(path, pages) for path in files.images)
    first = images[0]
    if form.axes == 3 and not first.is_volume:
        raise DataError(f"{first.path}: is no volume, but axes = 3. Set axes = 2, or remove the row.")
    for other in images[1:]:
        _check_size(other, first, "another channel of the same image")
        if other.colour or first.colour:
            raise DataError(f"{other.path}: several files are the channels of an image, but one is in colour.")
    masks: list[MedicalImage] = []
    mask = None
    if regions is not None:
        mask = np.zeros((len(regions.names), *first.size), bool)
        for column, paths in files.masks.items():
            for path in paths:
                drawn = read_image(path, pages)
                _check_size(drawn, first, "its image")
                mask |= regions.drawn(drawn, column)
                masks.append(drawn)
    pair = None if files.pair is None else read_image(files.pair, pages)
    if pair is not None:
        _check_size(pair, first, "the image that it is paired with")
        if pair.colour and not (pair.values == pair.values[..., :1]).all():
            raise DataError(
                f"{pair.path}: is in colour, but the second of a pair must be grey: the colour of what is fused is the "
                "first's. Save it as grey, or swap the two."
            )
    return RowImages(images, tuple(masks), mask, pair)


def prepared_row(row: RowImages, files: RowFiles, form: ImageForm) -> dict[str, Tensor]:
    """Return the fields of a row's examples: one, or a slice each.

    ``image`` ``(examples, channels, *size)`` float32 in [0, 1], and ``mask`` ``(examples, regions, *size)`` uint8 or
    ``chroma`` ``(examples, 2, *size)``.

    Raises:
        DataError: an intensity cannot be told.
    """
    planes = [unit_planes(image, form.intensity, files.modality) for image in row.images]
    image = torch.cat(planes) if len(planes) > 1 else planes[0]
    if row.pair is not None:
        second = to_channels(unit_planes(row.pair, form.intensity, files.modality)[None], 1)[0]
        image = torch.cat([to_channels(image[None], 3)[0], second])
    elif len(planes) == 1:
        image = to_channels(image[None], form.channels)[0]
    mask = None if row.mask is None else torch.from_numpy(row.mask).float()
    examples = [image] if mask is None else [image, mask]
    if form.slices and row.images[0].is_volume:
        seen = (mask if mask is not None and mask.any() else image).flatten(2).amax(dim=(0, 2)) > 0
        heights = between(seen if seen.any() else torch.ones(image.shape[1], dtype=torch.bool), form.slices)
        examples = [planes[:, heights].transpose(0, 1) for planes in examples]
    else:
        examples = [planes[None] for planes in examples]
    shrunk = [_shrunk(planes, form.size) for planes in examples]
    fields = {"image": shrunk[0].clamp(0, 1)}
    if mask is not None:
        fields["mask"] = (shrunk[1] >= 0.5).to(torch.uint8)
    if row.pair is not None:
        luminance, fields["chroma"] = to_luminance_and_chroma(fields["image"][:, :3])
        fields["image"] = torch.cat([luminance, fields["image"][:, 3:]], dim=1)
    return fields


def spacing_of(image: MedicalImage, form: ImageForm) -> list[float]:
    """Return the mm from one prepared pixel to the next along each axis; 0 where the file does not say."""
    size = image.size[-form.axes :]
    known = image.spacing[-form.axes :] if image.spacing else (0.0,) * form.axes
    return [step * side / form.size for step, side in zip(known, size, strict=True)]


def _shrunk(planes: Tensor, size: int) -> Tensor:
    return shrunk_volume(planes, size) if planes.dim() == 5 else resize(planes, size)


def _check_size(image: MedicalImage, other: MedicalImage, what: str) -> None:
    if image.size != other.size:
        sizes = [" x ".join(map(str, one.size)) for one in (image, other)]
        raise DataError(
            f"{image.path}: is {sizes[0]}, but {what}, {other.path.name}, is {sizes[1]}. Replace one, or bring both to "
            "one grid."
        )

