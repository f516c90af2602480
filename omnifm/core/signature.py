"""What a trained network takes and gives."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple


class Signature(NamedTuple):
    """What a trained network takes and gives, for people and programs that use it.

    ``gives`` is what kind of thing comes out; of a ``tensor`` nothing more is known. ``inputs`` and ``outputs`` say of
    each tensor by name, the main one first, what it holds. ``facts`` are plain values that a user needs besides.
    ``code`` is Python that makes the inputs other than the image, by functions of their names, and needs NumPy alone.
    """

    gives: Literal["labels", "regions", "image", "text", "tensor"]
    inputs: dict[str, str]
    outputs: dict[str, str]
    facts: dict[str, Any]
    code: str = ""
