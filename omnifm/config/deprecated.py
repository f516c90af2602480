"""Keys and values that have a new name: the old one still works, and a warning names the new one."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from omnifm.config.toml import Document
from omnifm.utils.errors import ExperimentError

KEYS = {("federation", "readings"): "evaluate"}
"""Section and old key, and the new key."""

VALUES = {
    ("federation", "evaluate"): {"received": "before_local_training", "personalised": "after_local_training"},
    ("partition", "kind"): {"mixed": "iid"},
}
"""Section and key, and the new values by the old ones."""

_log = logging.getLogger("omnifm")


def upgraded(document: Document) -> Document:
    """Return a document in which every key and value has its present name, in the arms and grids too.

    Raises:
        ExperimentError: a table has a key under both names.
    """
    document = copy.deepcopy(document)
    for place in _places(document):
        for (section, old), new in KEYS.items():
            if isinstance(table := place.get(section), dict):
                rename_key(table, old, new, f"{section}.")
        for (section, key), values in VALUES.items():
            table = place.get(section)
            if isinstance(table, dict) and key in table:
                table[key] = _current(table[key], f"{section}.{key}", values)
    return document


def rename_key(table: Document, old: str, new: str, prefix: str = "") -> None:
    """Give a table's key its present name, with a warning.

    Raises:
        ExperimentError: the table has both.
    """
    if old in table:
        _warn(f"{prefix}{old}", f"{prefix}{new}")
        if new in table:
            raise ExperimentError(f"{prefix}{old} is the old name of {prefix}{new}: leave it out.")
        table[new] = table.pop(old)


def current_path(path: list[str]) -> list[str]:
    """Return the steps to a key, such as ``--set`` names it, under its present name."""
    path = list(path)
    for at, step in enumerate(path[1:], 1):
        if new := KEYS.get((path[at - 1], step)):
            _warn(f"{path[at - 1]}.{step}", f"{path[at - 1]}.{new}")
            path[at] = new
    return path


def _places(document: Document) -> Iterator[Document]:
    """Yield the tables that may have the sections of an experiment."""
    compare = document.get("compare")
    compare = compare if isinstance(compare, dict) else {}
    yield document
    yield from (place for place in [compare.get("grid")] if isinstance(place, dict))
    for group in (document.get("arms"), compare.get("grids")):
        yield from (place for place in (group.values() if isinstance(group, dict) else ()) if isinstance(place, dict))


def _current(value: Any, key: str, values: dict[str, str]) -> Any:
    """Replace old values, in lists (and the lists of a grid) too."""
    if isinstance(value, list):
        return [_current(one, key, values) for one in value]
    if not isinstance(value, str) or value not in values:
        return value
    _warn(f"{key} = {value!r}", repr(values[value]))
    return values[value]


@lru_cache
def _warn(old: str, new: str) -> None:
    """Warn once, however many files and arms use the old name."""
    _log.warning("%s is now %s; the old name will stop working in a later version.", old, new)
