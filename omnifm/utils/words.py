"""Lists of names, and times, in sentences."""

from __future__ import annotations

from collections.abc import Iterable


def joined(names: Iterable[str], most: int | None = None) -> str:
    """Return ``a, b and c``; of more than ``most`` names the first ones, and how many others there are."""
    found = list(names)
    if most is not None and len(found) > most + 1:  # one name is as short as "1 other"
        found = [*found[:most], f"{len(found) - most} others"]
    *first, last = found
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds: float) -> str:
    """Return a time as people say it: ``45 s``, ``12 min``, ``3 h 20 min``, ``4 days``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{round(hours / 24)} days"
