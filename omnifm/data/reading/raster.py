"""PNG, JPEG, BMP, GIF, WebP, PPM and TIFF, through Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from omnifm.data.limits import MOST_PIXELS, MOST_VOXELS, check_extent
from omnifm.data.reading.medical_image import MedicalImage, as_stored, type_range
from omnifm.utils.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What a file is looked into for, whatever its name. Others start programs (EPS) or hold no pixels."""
SHRINK = "Shrink it or cut it into smaller images."
_SUBFILE_TYPE = 254  # the tag of TIFF that marks reduced copies of an image, such as thumbnails, and masks


def read_raster(path: Path) -> MedicalImage:
    """Return the image in a file; several pages become a volume ``(pages, height, width)``.

    It is uint8 (of 1 bit: 0 and 255), uint16, int32 or float32, or uint8 in colour. Transparency is dropped, the
    orientation that EXIF states obeyed. Pages of another size than the first, such as thumbnails, are passed over.

    Raises:
        DataError: the file is no image, is cut off, or has more than :data:`~omnifm.data.limits.MOST_PIXELS` pixels.
    """
    try:
        # Of a file that it opens itself Pillow maps TIFF into memory, and gets the sides of turned images wrong.
        with (
            warnings.catch_warnings(action="ignore"),
            path.open("rb") as file,
            Image.open(file, formats=FORMATS) as image,
        ):
            check_extent(path, (image.width, image.height), MOST_PIXELS, "pixels", SHRINK)
            pages = _pages(image)
            check_extent(path, (len(pages), image.height, image.width), MOST_VOXELS, "voxels", SHRINK)
            values, colour = _stacked([_page(image, page) for page in pages])
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{path}: has more than {MOST_PIXELS:,} pixels, which are not read. {SHRINK}") from None
    except UnidentifiedImageError:  # whose own text names an object of Python
        why = "cannot identify its format" if path.stat().st_size else "it is empty"
        raise DataError(f"{path}: cannot be read as an image ({why}). Replace or remove the file.") from None
    except Exception as error:  # a damaged file can end in any error of the library, of a dozen formats
        raise DataError(f"{path}: cannot be read as an image ({error}). Replace or remove the file.") from error
    return MedicalImage(
        path,
        values,
        as_stored(values.shape[: values.ndim - colour]),
        colour=colour,
        value_range=type_range(values),
        files=(path,),
    )


def _pages(image: Image.Image) -> list[int]:
    """Return the numbers of the pages that show something of their own."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a photograph and its previews
    if count == 1:
        return [0]
    sizes = {}
    for page in range(count):
        image.seek(page)
        if not getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0):
            sizes[page] = image.size
    first = sizes.get(0, next(iter(sizes.values()), None))
    pages = [page for page, size in sizes.items() if size == first] or [0]
    image.seek(pages[0])
    return pages


def _page(image: Image.Image, page: int) -> NDArray[Any]:
    """Return one page, ``(height, width)`` or ``(height, width, 3)``."""
    if getattr(image, "n_frames", 1) > 1:
        image.seek(page)
    shown = ImageOps.exif_transpose(image) if _is_turned(image) else image
    if shown.mode.startswith("I"):
        values = np.asarray(shown)
        fits = values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max
        return values.astype(np.uint16 if fits else np.int32)
    if shown.mode == "F":
        return np.asarray(shown)
    grey = shown.mode in ("1", "L", "LA")
    return np.asarray(shown.convert("L" if grey else "RGB"))


def _is_turned(image: Image.Image) -> bool:
    """Return whether EXIF says that the image is to be turned or mirrored; damaged EXIF says nothing."""
    try:
        return bool(image.getexif().get(ExifTags.Base.Orientation, 1) != 1)
    except Exception:  # of a damaged block, in any error
        return False


def _stacked(pages: list[NDArray[Any]]) -> tuple[NDArray[Any], bool]:
    """Return the pages as one array, and whether it is in colour."""
    colour = any(page.ndim == 3 for page in pages)
    if colour:
        pages = [page if page.ndim == 3 else np.repeat(page[..., np.newaxis], 3, axis=-1) for page in pages]
    return (np.stack(pages) if len(pages) > 1 else pages[0]), colour
