"""Telling by a pattern in a file's path or name which patient it is of."""

from __future__ import annotations

import re
from pathlib import Path

from omnifm.utils.errors import DataError


def check_pattern(pattern: str) -> None:
    """Check a ``patient_pattern``.

    Raises:
        ValueError: it is neither empty nor a regular expression with one group.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"patient_pattern = {pattern!r}: {error}") from error
    if pattern and groups != 1:
        raise ValueError(f"patient_pattern = {pattern!r} has {groups} groups, not one")


def patient_of(path: Path, folder: Path, pattern: str) -> str:
    """Return what the group of ``pattern`` is in the path below ``folder``; without a pattern that path itself.

    Raises:
        DataError: the path does not match.
    """
    return patient_in(path.relative_to(folder).as_posix(), pattern, path)


def patient_in(text: str, pattern: str, place: Path) -> str:
    """Return what the group of ``pattern`` is in a text, such as a file's name; without a pattern all of it.

    Raises:
        DataError: the text does not match; names ``place``, where it was found.
    """
    if not pattern:
        return text
    match = re.search(pattern, text)
    if match is None or match[1] is None:
        raise DataError(f"{place}: {text!r} does not match patient_pattern = {pattern!r}.")
    return match[1]
