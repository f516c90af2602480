"""How large one file of images can be: refused from its header, before memory is taken for what it claims to hold."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

from omnifm.utils.errors import DataError

MOST_PIXELS = 50_000_000
"""Of an image: about 7,000 x 7,000. To read one in colour and shrink it takes 1.3 GB at the most (measured)."""

MOST_VOXELS = 512**3
"""Of a volume. It takes 0.5 GB as floating-point numbers, each sequence of a case."""


def check_extent(path: Path, shape: Sequence[int], most: int, what: str, remedy: str) -> None:
    """Check a shape as a header states it.

    Args:
        path: the file, or what else is named in the message.
        shape: of the whole array.
        most: how many elements it can have.
        what: the elements, such as ``pixels``.
        remedy: what to do, as a sentence.

    Raises:
        DataError: it has more.
    """
    if prod(int(side) for side in shape) > most:  # in Python's numbers, which do not overflow
        sides = " x ".join(str(side) for side in shape)
        raise DataError(f"{path}: has {sides} {what}, and at most {most:,} are read. {remedy}")


def check_regular(path: Path) -> None:
    """Check that something is a file: to read a pipe waits for ever, and a device has no end.

    What does not exist passes: whoever opens it says so.

    Raises:
        DataError: it is a folder, a pipe, a socket or a device.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is no file, but a folder, a pipe or a device. Replace or remove it.")
