"""Which files are images: by what is in them, and, in a folder, by their names; and the litter that lies between."""

from __future__ import annotations

from pathlib import Path

RASTER = (".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pnm", ".tif", ".tiff")
DICOM = (".dcm", ".dicom", ".ima")
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".npy")
SUFFIXES = (*RASTER, *DICOM, *VOLUMES)
"""How the names of images end, in lower case."""
_LITTER = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "dicomdir"}
_MAGIC = b"DICM"


def is_litter(path: Path, folder: Path | None = None) -> bool:
    """Return whether a file or folder is what systems and programs leave behind, and no one's data.

    Names that begin with a dot (``.DS_Store``, ``._x.png``, ``.ipynb_checkpoints``), ``__MACOSX``, ``Thumbs.db`` and
    the like; with ``folder``, whatever lies in such a folder below it.
    """
    parts = path.relative_to(folder).parts if folder is not None else (path.name,)
    return any(part.startswith(".") or part.lower() in _LITTER for part in parts)


def suffix_of(path: Path) -> str:
    """Return how the name of a file ends, in lower case: ``.nii.gz`` as a whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """Return the name of a file without :func:`suffix_of`."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its first bytes or the ending of its name."""
    if not path.is_file():
        return False
    return suffix_of(path) in DICOM or first_bytes(path)[128:132] == _MAGIC


def first_bytes(path: Path) -> bytes:
    """Return the first 352 bytes of a file, as long as the header of NIfTI; of what cannot be read, none."""
    try:
        with path.open("rb") as file:
            return file.read(352)
    except OSError:
        return b""


def is_image(path: Path) -> bool:
    """Return whether a file is an image: by the ending of its name, or, where it has none, if it is DICOM."""
    suffix = suffix_of(path)
    return suffix in SUFFIXES or (not suffix.strip(".0123456789") and is_dicom(path))
