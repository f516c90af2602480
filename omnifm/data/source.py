"""The contract of a data set: a frozen dataclass of settings that can load itself.

To add a data set, write one file with such a class and name it in ``AnySource`` of ``sources.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from omnifm.data.subset import SourceTable
from omnifm.utils.errors import did_you_mean


@dataclass(frozen=True)
class Loading:
    """What every source is told: where the files lie and how the images shall come out.

    ``size`` is the side of the square image in pixels, ``channels`` 1 (grey) or 3 (RGB), ``seed`` the seed of
    the experiment (for sources that make their images), ``cache`` the folder for what is dear to make again.
    """

    root: Path
    size: int
    channels: int
    seed: int
    cache: Path


class Source(Protocol):
    """One data set, as an entry of ``[[data.sources]]`` in the experiment file. ``kind`` names it there."""

    kind: str

    def load(self, loading: Loading) -> SourceTable:
        """Read or make the whole set.

        Raises:
            DataError: a file is missing, damaged or does not fit; the message names it and the remedy.

        """
        ...


def check_names(field: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Let only known names pass, each once.

    Raises:
        ValueError: there is none, or one is unknown or stands twice.
    """
    if not names:
        raise ValueError(f"{field} must name at least one of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ValueError(f"{field}: unknown name {name!r}. {did_you_mean(name, known)}")
    if len(set(names)) < len(names):
        raise ValueError(f"{field}: a name stands twice in {', '.join(names)}")
