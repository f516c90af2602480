"""Changing a document by key, as ``--set`` does, and telling two documents apart."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from typing import Any

from omnifm.config.deprecated import current_path
from omnifm.config.toml import DEEPEST, Document, parse
from omnifm.utils.errors import ExperimentError


def apply_override(document: Document, override: str) -> None:
    """Change a document in place by ``key=value``; the value is TOML, or else a bare word.

    Raises:
        ExperimentError: it is not written so, or there is no such place in the document.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ExperimentError(f"--set {override!r}: write it as key=value, for example --set federation.rounds=10.")
    try:
        value = parse(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    except ValueError as error:
        raise ExperimentError(f"--set {key[:60]!r}: {error}.") from None
    set_key(document, key.strip(), value)


def set_key(document: Document, key: str, value: Any) -> None:
    """Change a document in place at a dotted key.

    Raises:
        ExperimentError: there is no such place in the document.
    """
    *path, last = current_path(str(key).split("."))
    if len(path) > DEEPEST:
        raise ExperimentError(f"--set {key[:60]!r}: tables are nested more than {DEEPEST} deep.")
    place: Any = document
    for step in path:
        place = _step(place, step, key)
    if isinstance(place, list):
        _step(place, last, key)
        place[int(last)] = value
    else:
        place[last] = value


def _step(place: Any, step: str, key: str) -> Any:
    if isinstance(place, list):
        if step.isdigit() and int(step) < len(place):
            return place[int(step)]
        raise ExperimentError(f"--set {key!r}: {step!r} is no place in a list of {len(place)} (they count from 0).")
    inner = place.setdefault(step, {})
    if not isinstance(inner, dict | list):
        raise ExperimentError(f"--set {key!r}: {step!r} is a value and has no keys below it.")
    return inner


def merged(base: Document, changes: Mapping[str, Any]) -> Document:
    """Return a document with changes, table by table."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def differences(old: Document, new: Document, prefix: str = "") -> list[str]:
    """Name the keys in which two documents differ, each with both values."""
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {_brief(a)} then, {_brief(b)} now")
    return found


def _brief(value: Any) -> str:
    return "not there" if value is None else "there" if isinstance(value, dict) else repr(value)
