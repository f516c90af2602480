"""How users' own classes become known by a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


def class_decorator(known: MutableMapping[str, Any], name: str, what: str) -> Callable[[Class], Class]:
    """Return a decorator that adds a class to those ``known``.

    ``what`` is what messages call such a class, as "Algorithm". The class must be a dataclass, since its fields, all
    with defaults, are its settings in an experiment.

    Raises:
        ValueError: (from the decorator) the name is taken, or the class is no dataclass.
    """

    def decorate(kind: Class) -> Class:
        if name in known:
            raise ValueError(f"{what} {name!r} exists already: give yours another name.")
        if not dataclasses.is_dataclass(kind):
            raise ValueError(f"{kind.__name__} must be a dataclass: put @dataclass(frozen=True) directly above it.")
        known[name] = kind
        return kind

    return decorate
