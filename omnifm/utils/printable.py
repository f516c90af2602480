"""Text of others, made safe to print: a terminal obeys control characters, wherever they come from."""

from __future__ import annotations

import unicodedata

_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control and format characters (among them those that turn the direction of a line), surrogates, ends of lines."""


def printable(text: str, keep: str = "") -> str:
    r"""Return a text with its control characters written out, such as ``\x1b``, so that it stays in one line.

    ``keep`` holds the characters that may stay, such as the end of a line where a text has several.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter in keep else _shown(letter) for letter in text)


def _shown(letter: str) -> str:
    hidden = unicodedata.category(letter) in _CATEGORIES
    return letter.encode("unicode_escape").decode("ascii") if hidden else letter
