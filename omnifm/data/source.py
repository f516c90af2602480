"""The contract of a data set: settings that can load themselves.

To add a data set, write one file with such a class (``@settings``) and name it in ``sources.py``; outside, put
``@register_source(kind)`` above it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from omnifm.data.reading.intensity import IntensityRule
from omnifm.data.subset import SourceTable


@dataclass(frozen=True)
class Loading:
    """The settings that every source receives: where the files are, and the form of the images.

    ``size`` is the side of the square image in pixels, ``channels`` 1 (grey) or 3 (RGB), ``seed`` the seed of
    the experiment (for sources that make their images), ``cache`` the folder for expensive preprocessing,
    ``intensity`` how the numbers of files become intensities where a source does not say.
    """

    root: Path
    size: int
    channels: int
    seed: int
    cache: Path
    intensity: IntensityRule = field(default_factory=IntensityRule)


class Source(Protocol):
    """One data set, as an entry of ``[[data.sources]]`` in the experiment file. ``kind`` names it there."""

    @property
    def kind(self) -> str:
        """Its name in an experiment file."""
        ...

    def load(self, loading: Loading) -> SourceTable:
        """Read or make the whole set.

        Raises:
            DataError: a file is missing, damaged or does not fit; the message names it and the remedy.
        """
        ...
