"""How a source reads its images: by its settings, all in one way, and with one warning for all that look wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.cache.prepared_rows import ItemRows, PreparedRows, prepared_once
from omnifm.data.reading import IntensityRule, MedicalImage, read_image
from omnifm.data.reading.files import files_at
from omnifm.data.reading.prepare import shaped
from omnifm.data.source import Loading
from omnifm.utils.errors import DataError

_log = logging.getLogger("omnifm")

_DULL = "dull"
LITTLE = 0.1
"""An image that uses less of [0, 1] than this was probably read by the wrong rule."""

FlatPages = Literal["refuse", "slices", "first", "middle"]
"""What a source of images, and not of volumes, makes of several pages, slices or frames."""
SourcePages = Literal["refuse", "volume", "slices", "first", "middle"]
"""What a source makes of several pages, slices or frames: nothing, one volume, an image of each, or of one of them."""


class SourceImages:
    """Reads the images of one source.

    Args:
        loading: the form in which images come out.
        modality: of the images, which tells ``auto`` how to read them where a header does not.
        intensity: the rule of this source; None for that of all data.
        pages: what is made of images with several pages or slices.

    Attributes:
        remark: what looked wrong with the last image, to be kept with what was made of it.
    """

    def __init__(
        self, loading: Loading, modality: str, intensity: IntensityRule | None = None, pages: SourcePages = "refuse"
    ) -> None:
        self.rule = intensity or loading.intensity
        self._loading, self._modality, self._pages = loading, modality, pages
        self._dull: list[Path] = []
        self._bits: dict[float, Path] = {}
        self._first: tuple[int, Path] | None = None
        self._count = 0
        self.remark = ""

    def read(self, path: Path) -> MedicalImage:
        """Read an image, or the volume of which this source takes slices.

        Raises:
            DataError: as :func:`~omnifm.data.reading.read_image`; the image has other axes than those before it.
        """
        image = read_image(path, "volume" if self._pages == "slices" else self._pages)
        axes = 2 if self._pages == "slices" else len(image.size)
        known, first = self._first = self._first or (axes, path)
        if axes != known:
            raise DataError(
                f"{path}: has {axes} axes, but {first} has {known}. Keep images and volumes in separate sources, or "
                "set pages = 'slices'."
            )
        return image

    def units(self, image: MedicalImage) -> list[NDArray[np.float32]]:
        """Return an image in [0, 1] and its own size, colours last: one array, or one of each slice."""
        unit = self.rule.apply(image, self._modality)
        remarks = [_DULL] if np.ptp(unit) < LITTLE else []
        if self.rule.rule == "auto" and image.values.dtype == np.uint16:
            remarks.append(f"{self.rule.limits(image, self._modality)[1]:g}")
        self.remark = " ".join(remarks)
        self.recall(image.path, self.remark)
        return self.slices(unit, image)

    def recall(self, path: Path, remark: str) -> None:
        """Count an image with the :attr:`remark` that there was when it was read."""
        self._count += 1
        for word in remark.split():
            if word == _DULL:
                self._dull.append(path)
            else:
                self._bits.setdefault(float(word), path)

    def slices(self, values: NDArray[Any], image: MedicalImage) -> list[NDArray[Any]]:
        """Return what lies on the grid of an image slice by slice, where this source takes slices; else as it is."""
        return list(values) if self._pages == "slices" and image.is_volume else [values]

    def prepared(self, path: Path) -> Tensor:
        """Read the rows that an image gives: ``(rows, channels, *size)`` float32 in [0, 1]."""
        image = self.read(path)
        return torch.cat([self.shaped(unit, colour=image.colour) for unit in self.units(image)])

    def shaped(self, unit: NDArray[np.float32], *, colour: bool) -> Tensor:
        """Return values in [0, 1] in the form that images have here, ``(1, channels, *size)``."""
        return shaped(unit, self._loading.size, self._loading.channels, colour=colour)

    def warn(self) -> None:
        """Say in one line each which images look as if they were read by the wrong rule."""
        if self._dull:
            _log.warning(
                "%d of %d images (such as %s) use less than a tenth of the range in which intensity = %r reads them. "
                "They look nearly uniform: set intensity (docs/data.md), or look at the images.",
                len(self._dull),
                self._count,
                self._dull[0],
                self.rule.rule,
            )
        if len(self._bits) > 1:
            (low, dark), (high, bright) = sorted(self._bits.items())
            _log.warning(
                "Some images of 16 bits are read up to %d (such as %s), others, with higher values, up to %d (such as "
                "%s). For one range set intensity = { rule = 'full_range', bits = 12 }, or 16.",
                low,
                dark,
                high,
                bright,
            )


def prepared_images(
    loading: Loading, source: object, paths: Sequence[Path], readers: Sequence[SourceImages], more: object = None
) -> PreparedRows:
    """Return the rows of images: the field ``image`` ``(rows, channels, *size)``, float32 in [0, 1].

    Args:
        loading: as :func:`~omnifm.data.cache.prepared_rows.prepared_once`, and so ``source`` and ``more``.
        source: the settings of the source.
        paths: the images, or the folders of series.
        readers: what reads each of them.
        more: what the readers depend on, if they are not the same for all.
    """

    def make(number: int) -> Iterator[ItemRows]:
        image = readers[number].prepared(paths[number])
        yield ItemRows({"image": image}, readers[number].remark)

    prepared = prepared_once(loading, source, [files_at(path) for path in paths], make, more)
    recall(prepared, paths, readers)
    return prepared


def recall(prepared: PreparedRows, paths: Sequence[Path], readers: Sequence[SourceImages]) -> None:
    """Warn of images that look wrong, whether they were read now or before."""
    if not prepared.fresh:
        notes = dict(prepared.notes)
        for number, (path, reader) in enumerate(zip(paths, readers, strict=True)):
            reader.recall(path, notes.get(number, ""))
    for reader in dict.fromkeys(readers):
        reader.warn()
