"""Regions in masks, as people draw them: one region by its brightness, or several by their colours or values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from omnifm.data.reading import MedicalImage
from omnifm.utils.errors import DataError
from omnifm.utils.settings import CountOrZero, Text, settings
from omnifm.utils.words import joined

BACKGROUND = "background"
"""A region of this name is none: its colours and values are those of what surrounds the regions."""
_SECOND = 0.1
"""A second colour with this share of what a threshold takes is no noise of JPEG."""


@settings
class Region:
    """One region of a mask: its name, and the colours or else the values that stand for it.

    Regions may share colours or values, and so overlap. Black, or 0, is background unless it is named.

    Attributes:
        name: the name of the region; sources with a region of one name share it.
        colours: the colours in the mask that stand for it, such as ``#ff0000``.
        values: the values in the mask that stand for it.
    """

    name: Text
    colours: tuple[Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")], ...] = ()
    values: tuple[CountOrZero, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.colours) == bool(self.values):
            raise ValueError(f"region {self.name!r} needs colours or values, and not both")


def names_of(regions: Sequence[Region]) -> tuple[str, ...]:
    """Return the names of the regions, without the background.

    Raises:
        ValueError: some are given by colours and others by values, one is there twice, or there is only background.
    """
    names = [region.name for region in regions if region.name != BACKGROUND]
    if len({bool(region.colours) for region in regions}) > 1:
        raise ValueError("some regions have colours and others values: masks hold the one or the other")
    if len(set(names)) < len(names) or not names:
        raise ValueError("regions must name each region once, and at least one")
    return tuple(names)


def regions_in(mask: MedicalImage, regions: Sequence[Region]) -> NDArray[np.uint8]:
    """Return where each region is, ``(regions, *size)`` of 0 and 1, the background left out.

    Raises:
        DataError: the mask holds a colour or a value that is not named, or is in colour where values are named.
    """
    by_colour = bool(regions[0].colours)
    codes = _packed(mask) if by_colour else _grey(mask)
    if codes is None:
        raise DataError(f"{mask.path}: the mask is in colour, but regions name values. Name colours = ['#rrggbb'].")
    found = _values_of(codes, mask.path)
    named = {region.name: _codes(region) for region in regions}
    known = {0, *(code for ones in named.values() for code in ones)}
    if unknown := [int(code) for code in found if int(code) not in known]:
        shown = joined([f"#{code:06x}" if by_colour else str(code) for code in unknown], most=3)
        raise DataError(
            f"{mask.path}: the mask holds {shown}, which no region names. Add a region, or name it {BACKGROUND!r}."
        )
    return np.stack([np.isin(codes, ones) for name, ones in named.items() if name != BACKGROUND]).astype(np.uint8)


def one_region(mask: MedicalImage, threshold: int = 0) -> NDArray[np.bool_]:
    """Return where the one region of a mask is: its higher value, or from ``threshold`` on.

    Raises:
        DataError: the mask shows several regions, or has several values and there is no threshold.
    """
    values = _grey(mask)
    if values is None:
        _check_one_colour(mask, threshold)
        values = mask.values.max(axis=-1)
    if threshold:
        return np.asarray(values >= threshold)
    found = _values_of(values, mask.path)
    if len(found) > 2:
        raise DataError(
            f"{mask.path}: a mask has two values, and this has {len(found)}. Where it was saved as JPEG, or is grey "
            "for another reason, set threshold = 128; of a map of several labels name each: "
            "regions = [{ name = '...', values = [1] }]."
        )
    return np.asarray(values > (found[0] if len(found) == 2 else 0))


def check_same_grid(image: MedicalImage, mask: MedicalImage) -> None:
    """Check that a mask is as large as its image, and lies where it does.

    Raises:
        DataError: it does not.
    """
    if image.size != mask.size:
        sizes = [" x ".join(map(str, one.size)) for one in (mask, image)]
        raise DataError(
            f"{mask.path}: the mask has {sizes[0]} pixels, but its image {image.path.name} {sizes[1]}. Replace one of "
            "them."
        )
    if image.affine is not None and mask.affine is not None and not np.allclose(image.affine, mask.affine, atol=1e-2):
        raise DataError(
            f"{mask.path}: its affine differs (orientation or origin) from that of its image {image.path.name}. "
            "Resample the mask to the image's grid."
        )


def _values_of(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Return the different values of a mask, all of which are whole numbers."""
    found = np.unique(values)
    if (odd := found[~np.equal(np.mod(found, 1), 0)]).size:  # what is not finite is no whole number either
        raise DataError(
            f"{path}: a mask holds whole numbers, but this {odd[0]:g}, as after linear interpolation. Resample it with "
            "nearest-neighbour interpolation."
        )
    return found


def _grey(mask: MedicalImage) -> NDArray[Any] | None:
    """Return the values of a mask, or None where it shows colours."""
    if not mask.colour:
        return mask.values
    return mask.values[..., 0] if mask.is_grey else None


def _packed(mask: MedicalImage) -> NDArray[Any]:
    """Return the colour of each place as one number, ``0xrrggbb``; grey is a colour too."""
    values = mask.values.astype(np.int64)
    if not mask.colour:
        return values * 0x010101
    return values[..., 0] << 16 | values[..., 1] << 8 | values[..., 2]


def _codes(region: Region) -> list[int]:
    return [int(colour[1:], 16) for colour in region.colours] or list(region.values)


def _check_one_colour(mask: MedicalImage, threshold: int) -> None:
    """Check that a mask in colour shows a single colour beside its background."""
    if threshold:
        bright = (mask.values >= threshold).reshape(-1, 3) @ np.array([4, 2, 1])
        shares = np.sort(np.bincount(bright, minlength=8)[1:])
        if shares[-2] > _SECOND * shares.sum():
            raise _several(mask.path, "several colours")
        return
    colours = np.unique(_packed(mask))
    brightest = {max(code >> 16, code >> 8 & 255, code & 255) for code in colours.tolist()}
    if len(colours) > 2 or len(brightest) < len(colours):
        raise _several(mask.path, joined([f"#{code:06x}" for code in colours.tolist()], most=3))


def _several(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: the mask shows {what}, and so more than one region. Name each region: "
        "regions = [{ name = '...', colours = ['#rrggbb'] }, ...]; where JPEG made the colours, save it as PNG."
    )
