"""Whose image it is, told from where the file lies."""

from __future__ import annotations

import re
from pathlib import Path

from omnifm.errors import DataError


def check_pattern(pattern: str) -> None:
    """Let only an empty ``patient_pattern`` pass, or a regular expression with one group.

    Raises:
        ValueError: it is neither.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"patient_pattern = {pattern!r}: {error}") from error
    if pattern and groups != 1:
        raise ValueError(f"patient_pattern = {pattern!r} has {groups} groups, not one")


def patient_of(path: Path, folder: Path, pattern: str) -> str:
    """Return what the group of ``pattern`` finds in the path below ``folder`` (with ``/``); all of it if empty.

    Raises:
        DataError: it finds nothing.
    """
    relative = path.relative_to(folder).as_posix()
    if not pattern:
        return relative
    match = re.search(pattern, relative)
    if match is None or match[1] is None:
        raise DataError(f"{path}: {relative!r} does not match patient_pattern = {pattern!r}.")
    return match[1]
