"""Lists of names in sentences."""

from __future__ import annotations

from collections.abc import Iterable


def joined(names: Iterable[str], most: int | None = None) -> str:
    """Return ``a, b and c``; of more than ``most`` names the first ones, and how many others there are."""
    found = list(names)
    if most is not None and len(found) > most + 1:  # one name is as short as "1 other"
        found = [*found[:most], f"{len(found) - most} others"]
    *first, last = found
    return f"{', '.join(first)} and {last}" if first else last
