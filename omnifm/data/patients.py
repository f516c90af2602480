"""Telling by a pattern in a file's path or name which patient it is of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from omnifm.utils.errors import DataError


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if pattern and groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups, not one")
    return pattern


PatientPattern = Annotated[str, AfterValidator(_one_group)]
"""A ``patient_pattern``: empty, or a regular expression with one group."""


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
