"""How the images of an experiment were prepared for its networks, so that new ones are prepared alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnifm.data.brats_case import sequence_intensities
from omnifm.data.federated_dataset import DataSettings
from omnifm.data.images import to_channels
from omnifm.data.reading import IntensityRule, MedicalImage, Pages, read_image
from omnifm.utils.errors import DataError, ExperimentError


@dataclass(frozen=True)
class Preparation:
    """From an image in its file to what a network takes.

    ``intensity`` is the rule by which numbers become [0, 1], ``modality`` what the settings say where the header says
    nothing. ``axes`` is 3 where networks see volumes. An image becomes ``size`` pixels a side: all of it, or each
    window of ``tile`` pixels (0: all of it), or, of images of ``mm`` (not 0), as many mm. ``pages`` says what is read
    of a volume where networks see images. ``among`` are modalities of which some are read otherwise than the others:
    a file that does not say its own is refused.
    """

    intensity: IntensityRule
    modality: str
    size: int
    channels: int
    axes: int = 2
    tile: int = 0
    mm: float = 0.0
    pages: Pages = "volume"
    among: tuple[str, ...] = ()

    def read(self, path: Path) -> MedicalImage:
        """Read an image as training did.

        Raises:
            DataError: it cannot be read, or is no volume where networks see volumes.
        """
        image = read_image(path, self.pages)
        if self.axes == 3 and not image.is_volume:
            raise DataError(f"{path}: is an image, but the network takes volumes. Give the volume, or its series.")
        if self.mm and image.spacing is None:
            raise DataError(f"{path}: does not say how far its voxels are apart, and the network needs images in mm.")
        return image

    def planes(self, images: Sequence[MedicalImage], channels: int = 0) -> Tensor:
        """Return images of one grid in [0, 1] and their own size, ``(channels, *size)``.

        Args:
            images: one, or those of several files, of which each is a channel.
            channels: how many there are to be; 0: as many as networks see.

        Raises:
            DataError: the images do not fit together, or have another number of channels.
        """
        first = images[0]
        for other in images[1:]:
            if other.size != first.size:
                sizes = [" x ".join(map(str, one.size)) for one in (other, first)]
                raise DataError(f"{other.path}: is {sizes[0]}, but {first.path.name}, with it, {sizes[1]}.")
        planes = torch.cat([self._unit(image) for image in images])
        wanted = channels or self.channels
        if len(images) == 1 and wanted in (1, 3):
            return to_channels(planes[None], wanted)[0]
        if len(planes) != wanted:
            raise DataError(
                f"{first.path}: has {len(planes)} channel(s), but the network takes {wanted}. Give the files of all "
                "its channels together, separated by ';'."
            )
        return planes

    def described(self) -> dict[str, Any]:
        """Return it as plain values, for programs that prepare images elsewhere."""
        return asdict(self)

    def limits(self, image: MedicalImage) -> tuple[float, float]:
        """Return the numbers of an image that become 0 and 1."""
        return self.intensity.limits(image, self.modality)

    def _unit(self, image: MedicalImage) -> Tensor:
        if self.among and not image.modality and image.values.dtype != np.uint8:
            raise DataError(
                f"{image.path}: does not say its modality, and training read some modalities otherwise than others. "
                f"Name it by --modality: {', '.join(self.among)}."
            )
        if self.mm:
            return torch.from_numpy(sequence_intensities(image.values, image.path))[None]
        unit = torch.from_numpy(self.intensity.apply(image, self.modality))
        return unit.movedim(-1, 0) if image.colour else unit[None]


def preparation_of(data: DataSettings, axes: int, channels: int, modality: str = "") -> Preparation:
    """Return how the images of a modality were prepared.

    Args:
        data: the settings of the experiment's data.
        axes: of the images that its networks see.
        channels: of these.
        modality: as the sources call it, several joined by ``+``; empty: any.

    Raises:
        ExperimentError: the sources prepare their images in several ways, and the modality does not say which.
    """
    wanted = set(modality.split("+")) if modality else set()
    matching = [source for source in data.sources if wanted & set(_modalities(source))] or list(data.sources)
    ways = list(dict.fromkeys(_of_source(source, data, axes, channels, wanted) for source in matching))
    known = sorted({name for source in data.sources for name in _modalities(source)})
    if len({replace(way, modality="") for way in ways}) == 1 and len(ways) > 1:
        return replace(ways[0], modality="", among=tuple(known))
    if len(ways) > 1:
        raise ExperimentError(
            f"The sources of the experiment prepare their images in {len(ways)} ways (intensity, tile, pages or field "
            f"of view differ): name the modality of the images ({', '.join(known)})."
        )
    return ways[0]


def _of_source(source: Any, data: DataSettings, axes: int, channels: int, wanted: set[str]) -> Preparation:
    named = _modalities(source) or tuple(sorted(wanted))  # a table says the modality of each row by itself
    known = [name for name in named if name in wanted] or named
    chosen: Pages = getattr(source, "pages", "volume")
    pages: Pages = chosen if chosen in ("first", "middle") else "volume"
    return Preparation(
        intensity=getattr(source, "intensity", None) or data.intensity,
        modality=known[0] if len(known) == 1 and _reads_by_modality(source, data, named) else "",
        size=data.size,
        channels=channels,
        axes=axes,
        tile=getattr(source, "tile", 0),
        mm=float(getattr(source, "field_of_view", 0.0)) if source.kind == "brats" else 0.0,
        pages=pages,
    )


def _reads_by_modality(source: Any, data: DataSettings, named: Sequence[str]) -> bool:
    """Return whether the modality of a source's images makes a difference to how they are read: of CT."""
    rule = getattr(source, "intensity", None) or data.intensity
    return rule.rule == "auto" and any(name.upper() == "CT" for name in named)


def _modalities(source: Any) -> tuple[str, ...]:
    """Return the modalities that a source names in its settings; none where its files say them."""
    if one := getattr(source, "modality", ""):
        return (one,)
    return tuple(getattr(source, "modalities", ()) or getattr(source, "sequences", ()) or getattr(source, "pairs", ()))
