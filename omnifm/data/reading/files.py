"""Which files are images: by what is in them, and, in a folder, by their names; and the litter that lies between."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from omnifm.data.reading.dicom import holds_image
from omnifm.utils.words import joined

_log = logging.getLogger("omnifm")

RASTER = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pnm", ".tif"),
    ".tiff",
)
DICOM = (".dcm", ".dicom", ".ima")
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".npy")
SUFFIXES = (*RASTER, *DICOM, *VOLUMES)
"""How the names of images end, in lower case."""
IMAGES = "PNG, JPEG, BMP, GIF, WebP, PPM, TIFF, DICOM, NIfTI, NRRD or .npy"
"""The same for people."""
_LITTER = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "dicomdir"}
_MASK = re.compile(
    r"(?P<image>.+?)[ _.-]+(mask|masks|seg|segmentation|gt|groundtruth|ground_truth|annotation|contour)"
    r"([ _.-]*(\d+|\(\d+\)))?",
    re.IGNORECASE,
)


def parts_below(path: Path, folder: Path) -> tuple[str, ...]:
    """Return the parts of a path that was found in a folder, without those of the folder."""
    return path.parts[len(folder.parts) :]  # as relative_to, but much faster


def is_litter(path: Path, folder: Path | None = None) -> bool:
    """Return whether a file or folder is what systems and programs leave behind, and no one's data.

    Names that begin with a dot (``.DS_Store``, ``._x.png``, ``.ipynb_checkpoints``), ``__MACOSX``, ``Thumbs.db`` and
    the like; with ``folder``, whatever is in such a folder below it.
    """
    parts = parts_below(path, folder) if folder is not None else (path.name,)
    return any(part.startswith(".") or part.lower() in _LITTER for part in parts)


def suffix_of(path: Path) -> str:
    """Return how the name of a file ends, in lower case: ``.nii.gz`` as a whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """Return the name of a file without :func:`suffix_of`."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by the ending of its name or its first bytes."""
    suffix = suffix_of(path)
    if suffix in RASTER or suffix in VOLUMES or not path.is_file():
        return False
    return suffix in DICOM or first_bytes(path)[128:132] == b"DICM"


def is_image(path: Path) -> bool:
    """Return whether a file is an image: by the ending of its name, or, where it has none, if it is DICOM."""
    suffix = suffix_of(path)
    return suffix in SUFFIXES or (not suffix.strip(".0123456789") and is_dicom(path))


def first_bytes(path: Path) -> bytes:
    """Return the first 352 bytes of a file, as many as the header of NIfTI has; none of what cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(352)
    except OSError:
        return b""


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without litter."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not is_litter(path))


def images_among(paths: Iterable[Path], folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the images among paths below a folder, sorted, and the other files, both without litter.

    DICOM without an image, such as a report, is among the others.
    """
    found: tuple[list[Path], list[Path]] = ([], [])
    for path in sorted(paths, key=lambda path: path.parts):  # as paths are compared, but faster
        if not path.is_dir() and not is_litter(path, folder):
            image = is_image(path) and (not is_dicom(path) or holds_image(path))
            found[not image].append(path)
    return found


def without_masks(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Part images from masks that lie beside them under their names: ``x.png`` from ``x_mask.png``, ``x_mask_1.png``.

    A name that ends so counts as a mask only where there is an image of which it is.
    """
    known = {str(path).removesuffix(path.name) + stem_of(path) for path in paths}
    found: tuple[list[Path], list[Path]] = ([], [])
    for path in paths:
        match = _MASK.fullmatch(stem_of(path))
        found[match is not None and str(path.with_name(match["image"])) in known].append(path)
    return found


def by_series(paths: Sequence[Path]) -> list[Path]:
    """Replace the DICOM files of one folder by the folder, which :func:`~omnifm.data.reading.read_image` reads whole.

    A folder with a single DICOM file, or with other images too, stays as it is.
    """
    inside: dict[Path, list[Path]] = {}
    for path in paths:
        inside.setdefault(path.parent, []).append(path)
    found: list[Path] = []
    for folder, files in inside.items():
        found += [folder] if len(files) > 1 and all(is_dicom(path) for path in files) else files
    return sorted(found)


def warn_of_others(folder: Path, others: Sequence[Path], masks: Sequence[Path] = ()) -> None:
    """Say in one line which files of a folder are passed over, being no images or masks of images."""
    if others:
        kinds = Counter(suffix_of(path) or "no ending" for path in others)
        listed = joined([f"{count} x {kind}" for kind, count in kinds.most_common()], most=5)
        many = len(others)
        counted = "1 file was passed over, which holds" if many == 1 else f"{many} files were passed over, which hold"
        _log.warning("%s: %s no image (%s): %s.", folder, counted, IMAGES, listed)
    if masks:
        _log.warning(
            "%s: %d files were passed over, which look like masks of the images beside them, such as %s. "
            "To learn from them, use kind = 'masked_folder'.",
            folder,
            len(masks),
            masks[0].name,
        )


def files_at(path: Path) -> tuple[Path, ...]:
    """Return the files that an image is read from: itself, or those in the folder of a series."""
    if not path.is_dir():
        return (path,)
    return tuple(sorted(inside for inside in path.iterdir() if inside.is_file() and not is_litter(inside)))
