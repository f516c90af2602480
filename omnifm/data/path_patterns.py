"""Patterns of paths in an experiment: which files belong to a set, all of them below its folder."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated

from pydantic import AfterValidator


def below(pattern: str) -> str:
    """Let a pattern pass that stays below the folder of its set.

    Raises:
        ValueError: it is absolute or leads out of it, or is no pattern.
    """
    parts = PurePosixPath(pattern).parts
    if not parts:
        raise ValueError(f"{pattern!r} matches nothing: write a pattern such as '*.png'")
    if parts[0] == "/" or PureWindowsPath(pattern).anchor:
        raise ValueError(f"{pattern!r} is absolute: write it relative to the folder of the set")
    if ".." in parts:
        raise ValueError(f"{pattern!r} leads out of the folder of the set: set the folder instead")
    if any("**" in part and part != "**" for part in parts):
        raise ValueError(f"{pattern!r}: '**' stands for any folders and must be alone between two '/'")
    if "\0" in pattern:
        raise ValueError(f"{pattern!r} holds a null character, which no path does")
    return pattern


PathPattern = Annotated[str, AfterValidator(below)]
"""A glob pattern below a folder, such as ``images/**/*.png``."""
