"""TOML files, read so that what is wrong with them is said in one sentence."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from omnifm.utils.errors import OmniFMError

Document = dict[str, Any]
"""What a TOML file holds."""

DEEPEST = 32
"""How deeply tables and lists can be nested; the checks that follow are recursive."""


def parse(text: str) -> Document:
    """Read TOML.

    Raises:
        tomllib.TOMLDecodeError: it is none.
        ValueError: it is nested too deeply.
    """
    try:
        document = tomllib.loads(text)
        level: list[Any] = [document]
        for _ in range(DEEPEST):
            places = [place.values() if isinstance(place, dict) else place for place in level]
            level = [inner for place in places for inner in place if isinstance(inner, dict | list)]
    except RecursionError:
        level = [text]
    if level:
        raise ValueError(f"tables and lists are nested more than {DEEPEST} deep")
    return document


def read_toml(path: Path, what: str, failure: type[OmniFMError], remedy: str = "") -> Document:
    """Read a TOML file, for people ``what``; where there is none, ``remedy`` says what to do.

    Raises:
        failure: the file is missing, cannot be read or is not valid TOML; names it.
    """
    try:
        return parse(path.read_text(encoding="utf-8-sig"))  # Windows' editors begin a file with a byte order mark
    except FileNotFoundError:
        raise failure(f"There is no {what} {path}{remedy and f': {remedy}'}.") from None
    except IsADirectoryError:
        raise failure(f"{path} is a folder, and no {what}: give the one that is in it.") from None
    except tomllib.TOMLDecodeError as error:
        raise failure(f"{path} is not valid TOML: {error}.") from None
    except (OSError, ValueError) as error:
        raise failure(f"The {what} {path} cannot be read: {error}.") from None


def to_toml(document: Document) -> str:
    """Return a document as TOML text; keys without a value (None) are left out, since TOML cannot say that."""
    return tomli_w.dumps(_with_values(document))


def _with_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_values(each) for key, each in value.items() if each is not None}
    return [_with_values(each) for each in value] if isinstance(value, list | tuple) else value
