"""The files of a folder by what they are, without what operating systems leave behind."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from omnifm.data.reading.files import RASTER, VOLUMES, is_image, is_litter, suffix_of
from omnifm.utils.errors import DataError

_KINDS = {
    **dict.fromkeys(RASTER, "images"),
    **dict.fromkeys(VOLUMES, "images"),
    **dict.fromkeys((".csv", ".tsv", ".parquet"), "tables"),
    ".npz": "arrays",
    ".json": "texts",
}


@dataclass(frozen=True)
class FolderContents:
    """The paths below a folder, sorted, relative to it.

    ``images`` are PNG, JPEG, NIfTI and others that are images by themselves, ``dicom`` may be slices of series,
    ``arrays`` are ``.npz``, ``texts`` are ``.json``. ``others`` counts the endings of what is no data, ``litter`` the
    files and folders that operating systems left behind.
    """

    root: Path
    images: tuple[Path, ...]
    dicom: tuple[Path, ...]
    tables: tuple[Path, ...]
    arrays: tuple[Path, ...]
    texts: tuple[Path, ...]
    others: dict[str, int]
    litter: int

    @classmethod
    def of(cls, root: Path) -> FolderContents:
        """Look through a folder.

        Raises:
            DataError: it is no folder, or holds nothing that is known.
        """
        if not root.is_dir():
            raise DataError(f"{root}: no such folder. Give the folder that holds your images.")
        kinds: dict[str, list[Path]] = {kind: [] for kind in ("images", "dicom", "tables", "arrays", "texts")}
        others: Counter[str] = Counter()
        litter = 0
        for folder, inner, names in os.walk(root):
            litter += sum(is_litter(Path(name)) for name in (*names, *inner))
            inner[:] = sorted(name for name in inner if not is_litter(Path(name)))
            for path in (Path(folder, name) for name in names if not is_litter(Path(name))):
                if kind := _kind(path):
                    kinds[kind].append(path.relative_to(root))
                else:
                    others[suffix_of(path) or "no ending"] += 1
        if not any(kinds[kind] for kind in kinds if kind != "texts"):
            there = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
            raise DataError(
                f"{root}: holds no image, volume, series or table of a known format, but {there or 'nothing at all'}. "
                "Give the folder that holds your images."
            )
        found = {kind: tuple(sorted(paths)) for kind, paths in kinds.items()}
        return cls(root, **found, others=dict(others), litter=litter)


def _kind(path: Path) -> str:
    known = _KINDS.get(suffix_of(path), "")
    return known or ("dicom" if is_image(path) else "")
