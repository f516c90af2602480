"""Telling by a pattern in a file's path or name which patient it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import regex
from pydantic import AfterValidator

from omnifm.data.reading.files import parts_below
from omnifm.utils.errors import DataError


def _one_group(pattern: str) -> str:
    try:
        groups = regex.compile(pattern).groups
    except regex.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if pattern and groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups, not one")
    return pattern


PATTERN_SECONDS = 2.0
"""For how many seconds a pattern is tried on one path; honest ones take microseconds."""
PatientPattern = Annotated[str, AfterValidator(_one_group)]
"""A ``patient_pattern``: empty, or a regular expression with one group."""


def patient_of(path: Path, folder: Path, pattern: str) -> str:
    """Return what the group of ``pattern`` is in the path below ``folder``; without a pattern that path itself.

    Raises:
        DataError: the path does not match.
    """
    return patient_in("/".join(parts_below(path, folder)), pattern, path)


def patient_in(text: str, pattern: str, place: Path) -> str:
    """Return what the group of ``pattern`` is in a text, such as a file's name; without a pattern all of it.

    Raises:
        DataError: the text does not match, or it takes too long to find out; names ``place``, where it was found.
    """
    if not pattern:
        return text
    try:
        match = regex.search(pattern, text, timeout=PATTERN_SECONDS)  # Python's own has no limit of time
    except TimeoutError:
        raise DataError(
            f"{place}: patient_pattern = {pattern!r} was tried for {PATTERN_SECONDS:g} s on it in vain. Write it "
            "without a repetition within a repetition, such as (a+)+."
        ) from None
    if match is None or match[1] is None:
        raise DataError(f"{place}: {text!r} does not match patient_pattern = {pattern!r}.")
    return str(match[1])
