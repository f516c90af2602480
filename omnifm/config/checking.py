"""Checking values against settings, and saying what does not fit: the key, the reason, the value given."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pydantic
from pydantic import TypeAdapter

from omnifm.data.source import Source
from omnifm.data.sources import SOURCES
from omnifm.utils.errors import ExperimentError, did_you_mean
from omnifm.utils.settings import strict

_WORDS = {
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "multiple_of": "must be a multiple of {multiple_of:g}",
    "too_short": "must name at least {min_length}",
    "string_too_short": "must not be empty",
    "missing": "this key is required",
}
"""What pydantic says at greater length."""


def checked(kind: type, values: Any, prefix: tuple[str, ...]) -> Any:
    """Validate values against a dataclass, strictly; lists count as tuples.

    Raises:
        ExperimentError: a key or value is not valid; names it, behind ``prefix``.
    """
    try:
        return validator(kind).validate_json(json.dumps(values, default=str))
    except TypeError as error:
        raise ExperimentError(f"{'.'.join(prefix) or 'The experiment'}: {error}.") from None
    except pydantic.ValidationError as error:
        found = error.errors()
        # A list whose items are wrong is not too short as well.
        inner = {one["loc"][:depth] for one in found for depth in range(len(one["loc"]))}
        found = [one for one in found if one["type"] != "too_short" or one["loc"] not in inner]
        raise ExperimentError("\n".join(_message(kind, one, prefix) for one in found)) from None


@lru_cache
def validator(kind: type) -> TypeAdapter[Any]:
    """Return what checks values against a dataclass; one of a user's own need not be of :func:`settings`."""
    return TypeAdapter(strict(kind))


def _message(kind: type, error: Any, prefix: tuple[str, ...]) -> str:
    place = [*prefix, *_written(kind, error["loc"])]
    key = ".".join(place)
    if error["type"] == "unexpected_keyword_argument":
        return f"Unknown key {key!r}. {did_you_mean(place[-1], _keys_at(kind, error['loc'][:-1]))}"
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be").rstrip(".")
    text = text.replace("a valid array", "a list").replace("an object", "a table")  # as TOML calls them
    if words := _WORDS.get(error["type"]):
        text = words.format(**error.get("ctx", {}))
    end = "" if text.endswith("?") else "."
    given = error.get("input")
    shown = "" if isinstance(given, dict | list) or error["type"] == "value_error" else f" (given: {given!r})"
    said = f"{key}: {text[0].lower()}{text[1:]}" if key else f"{text[0].upper()}{text[1:]}"
    return f"{said}{shown}{end}"


def _written(kind: Any, path: Sequence[Any]) -> list[str]:
    """Return the steps of a path as one writes them: without the kind of a source, by which pydantic found its keys."""
    return [
        str(step)
        for place, step in enumerate(path)
        if isinstance(step, int) or _type_at(kind, path[:place]) is not Source
    ]


def _keys_at(kind: Any, path: Sequence[Any]) -> list[str]:
    """Return the keys that the dataclass at ``path`` below ``kind`` accepts."""
    kind = _type_at(kind, path)
    return [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _type_at(kind: Any, path: Sequence[Any]) -> Any:
    """Return the annotation at ``path`` below the dataclass ``kind``."""
    for step in path:
        inner = typing.get_type_hints(kind).get(step) if dataclasses.is_dataclass(kind) else None
        kind = inner if inner is not None else _member(kind, step)
    return kind


def _member(kind: Any, step: Any) -> Any:
    """Step into a list by index, or into a source by its ``kind``."""
    if isinstance(step, int):
        return typing.get_args(kind)[0]
    return SOURCES.get(step, kind) if kind is Source else kind
