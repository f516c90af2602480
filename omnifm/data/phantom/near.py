"""The end of an error message about an unknown name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that ``name`` resembles, if any, and the list of all."""
    names = list(known)
    by_lower = {each.lower(): each for each in names}
    found = get_close_matches(name.lower(), list(by_lower), n=1)
    hint = f" (did you mean {by_lower[found[0]]!r}?)" if found else ""
    return f"{hint}; known are {', '.join(names)}"
