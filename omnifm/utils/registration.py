"""How users' own classes become known by a name: by a decorator in a file, or by the entry points of a package."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, MutableMapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from omnifm.utils.errors import ExperimentError

_Class = TypeVar("_Class", bound=type)

ENTRY_POINT_GROUPS = ("algorithms", "tasks", "sources", "callbacks", "aggregators")
"""The groups of entry points are called ``omnifm.`` and one of these; the singular names the decorator."""

_registered: set[type] = set()
_loaded: set[EntryPoint] = set()


def class_decorator(
    known: MutableMapping[str, Any], name: str, what: str, settings: type | None = None
) -> Callable[[_Class], _Class]:
    """Return a decorator that adds a class to those ``known``.

    ``what`` is what messages call such a class, as "Algorithm". Its ``settings``, by default the class itself, must be
    a dataclass, since its fields, all with defaults, are the settings in an experiment.

    Raises:
        ValueError: (from the decorator) the name is taken, or the settings are no dataclass.
    """

    def decorate(kind: _Class) -> _Class:
        own = settings or kind
        if name in known:
            raise ValueError(f"{what} {name!r} exists already: give yours another name.")
        if not dataclasses.is_dataclass(own):
            raise ValueError(f"{own.__name__} must be a dataclass: put @dataclass directly above it.")
        known[name] = kind
        _registered.add(kind)
        return kind

    return decorate


@cache
def load_plugins() -> None:
    """Load, once, the entry points of installed packages in all :data:`ENTRY_POINT_GROUPS`.

    An entry point names a class, which is registered under the entry point's name unless its own decorator has done so,
    or a module whose decorators register.

    Raises:
        ExperimentError: one cannot be loaded; names it, its package and the reason.
    """
    for group in ENTRY_POINT_GROUPS:
        for entry in entry_points(group=f"omnifm.{group}"):
            if entry not in _loaded:
                _load(entry, f"register_{group[:-1]}")
                _loaded.add(entry)


def _load(entry: EntryPoint, decorator: str) -> None:
    try:
        found = entry.load()
        if isinstance(found, type) and found not in _registered:
            getattr(importlib.import_module("omnifm"), decorator)(entry.name)(found)
    except Exception as error:  # whatever the code of others raises
        package = entry.dist.name if entry.dist else "unknown"
        raise ExperimentError(
            f"The entry point {entry.name!r} of {entry.group} ({entry.value}), from the package {package!r}, cannot be "
            f"loaded: {type(error).__name__}: {error}. Repair the package, or uninstall it."
        ) from error
