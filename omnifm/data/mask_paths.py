"""Which masks belong to which image, by a pattern of paths."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from omnifm.data.path_patterns import below
from omnifm.data.reading.files import is_litter, stem_of
from omnifm.utils.errors import DataError

_PLACES = ("name", "folder", "parent")


def _of_each_image(pattern: str) -> str:
    if not any(f"{{{place}}}" in pattern for place in ("name", "folder")):
        raise ValueError(f"{pattern!r} must hold {{name}}, or {{folder}}, or all images would share one mask")
    if unknown := [name for name in re.findall(r"\{(\w*)\}", pattern) if name not in _PLACES]:
        raise ValueError(f"{pattern!r} holds {{{unknown[0]}}}, but known are {{name}}, {{folder}} and {{parent}}")
    if glob.has_magic(pattern):
        below(pattern)
    return pattern


MaskPattern = Annotated[str, AfterValidator(_of_each_image)]
"""The path of an image's mask below a folder: ``masks/{name}.png``, ``{folder}/{name}_mask*.png``."""


def masks_of_images(paths: Sequence[Path], folder: Path, pattern: str) -> dict[Path, list[Path]]:
    """Return the masks of each image below a folder. A path that is a mask of another is no image.

    Raises:
        DataError: an image has no mask, or two images would share one.
    """
    found = {path: _masks(path, folder, pattern) for path in paths}
    masks = {mask for path, mine in found.items() for mask in mine if mask != path}
    found = {path: mine for path, mine in found.items() if path not in masks}
    owner: dict[Path, Path] = {}
    for path, mine in found.items():
        if not mine or mine == [path]:
            missing = folder / _filled(pattern, path, folder)
            raise DataError(f"{path}: there is no mask {missing}. Put it there, or correct masks = {pattern!r}.")
        for mask in mine:
            if mask in owner:
                raise DataError(
                    f"{mask}: would be the mask of both {owner[mask]} and {path}. Tell them apart in masks = "
                    f"{pattern!r}, by {{parent}} or {{folder}}, the name or path of an image's folder."
                )
            owner[mask] = path
    return found


def _masks(path: Path, folder: Path, pattern: str) -> list[Path]:
    if not glob.has_magic(pattern):
        mask = folder / _filled(pattern, path, folder)
        return [mask] if mask.is_file() else []
    escaped = _filled(pattern, path, folder, escape=True)
    return [mask for mask in sorted(folder.glob(escaped)) if mask.is_file() and not is_litter(mask, folder)]


def _filled(pattern: str, path: Path, folder: Path, *, escape: bool = False) -> str:
    parent = path.parent.relative_to(folder).as_posix()
    values = {"name": stem_of(path), "folder": parent, "parent": path.parent.name}
    return re.sub(r"\{(\w+)\}", lambda place: glob.escape(values[place[1]]) if escape else values[place[1]], pattern)
