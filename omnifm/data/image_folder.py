"""A folder of images, one subfolder a class, as many sets are published (e.g. MedNIST)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from omnifm.data.images import prepare
from omnifm.data.limits import MOST_PIXELS, check_extent, check_regular
from omnifm.data.patients import PatientPattern, patient_of
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.utils.errors import DataError, did_you_mean
from omnifm.utils.settings import CountOrZero, Distinct, Text, settings

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What a file is looked into for, whatever its name. Others start programs (EPS) or hold no pixels."""
_SHRINK = "Shrink it or cut it into smaller images."


@settings
class ImageFolderSource:
    """Images at ``<root>/<folder>/<class>/**``, of one modality, as PNG, JPEG, BMP or TIFF of 8 or 16 bits.

    ``classes`` names the subfolders to read, in this order (empty: all, sorted). They are the names of the
    labels, so that hospitals with folders of the same name share the class. ``name`` is the institution's;
    empty, it is the folder's. ``limit`` takes at most that many images of each class, evenly spaced over the
    sorted paths (0: all). ``patient_pattern`` is a regular expression whose one group, found in the path
    below the folder (with ``/``), is the patient; empty, each image is its own patient. No split is
    published.
    """

    folder: str
    modality: Text
    kind: Literal["image_folder"] = "image_folder"
    classes: Distinct[str] = ()
    name: str = ""
    limit: CountOrZero = 0
    patient_pattern: PatientPattern = ""

    def load(self, loading: Loading) -> SourceTable:
        """Read the images of every class."""
        folder = loading.root / self.folder
        classes = self._classes(folder)
        institution = self.name or folder.name
        images, labels, patients = [], [], []
        for label, name in enumerate(classes):
            paths = sorted(path for path in (folder / name).rglob("*") if path.suffix.lower() in SUFFIXES)
            if not paths:
                raise DataError(
                    f"{folder / name}: holds no image ({', '.join(SUFFIXES)}). Put the images of class "
                    f"{name!r} there, or leave it out by naming the others in classes."
                )
            for path in (paths[index] for index in evenly_spaced(len(paths), self.limit)):
                images.append(prepare(read_image(path)[np.newaxis], loading.size, loading.channels))
                labels.append(label)
                patients.append(f"{institution}/{patient_of(path, folder, self.patient_pattern)}")
        return SourceTable(
            fields={"image": torch.cat(images), "label": torch.tensor(labels)},
            label_names=classes,
            patients=tuple(patients),
            modalities=(self.modality,) * len(patients),
            institutions=(institution,) * len(patients),
        )

    def _classes(self, folder: Path) -> tuple[str, ...]:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder. Put the images there as <class>/<image>, or correct folder.")
        found = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
        if not found:
            raise DataError(f"{folder}: has no subfolders. Put the images there as <class>/<image>.")
        for name in self.classes:
            if name not in found:
                raise DataError(f"{folder}: has no class {name!r}. {did_you_mean(name, found)}")
        return self.classes or tuple(found)


def read_image(path: Path) -> NDArray[Any]:
    """Return the image as ``(height, width)`` uint8 or uint16, or ``(height, width, 3)`` uint8.

    Transparency is dropped. Of a file with several pages the first is read.

    Raises:
        DataError: the file is no image, is cut off, has neither 8 nor 16 bits, or more than
            :data:`~omnifm.data.limits.MOST_PIXELS` pixels.
    """
    check_regular(path)
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            check_extent(path, (image.width, image.height), MOST_PIXELS, "pixels", _SHRINK)
            if image.mode.startswith("I"):
                return _sixteen_bits(np.asarray(image))
            if image.mode == "F":
                raise ValueError("it holds floating-point values, whose range is unknown")
            grey = image.mode in ("1", "L", "LA")
            return np.asarray(image.convert("L" if grey else "RGB"))
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{path}: has more than {MOST_PIXELS:,} pixels, which are not read. {_SHRINK}") from None
    except Exception as error:  # a damaged file can end in any error of the library, of a dozen formats
        raise DataError(f"{path}: cannot be read as an image ({error}). Replace or remove the file.") from error


def _sixteen_bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise ValueError("its values do not fit into 16 bits")
    return values.astype(np.uint16)
