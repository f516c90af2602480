"""The contract of a data set: settings that can load themselves.

To add a data set, write one file with such a class (``@settings``) and name it in ``sources.py``; outside, put
``@register_source(kind)`` above it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from omnifm.data.cache.file_digests import sha256_of, state_of
from omnifm.data.fingerprint import ReadFiles
from omnifm.data.listed_items import ListedItems
from omnifm.data.reading.intensity import IntensityRule
from omnifm.data.subset import SourceTable


@dataclass(frozen=True)
class Loading:
    """The settings that every source receives: where the files are, and the form of the images.

    ``size`` is the side of the square image in pixels, ``channels`` 1 (grey) or 3 (RGB), ``seed`` the seed of
    the experiment (for sources that make their images), ``cache`` the folder for expensive preprocessing and
    ``cache_limit`` the GiB that it may hold (0: nothing is kept there), ``intensity`` how the numbers of files become
    intensities where a source does not say. ``read`` takes down what a source reads; ``listing`` takes down what it
    would read, in place of reading it.
    """

    root: Path
    size: int
    channels: int
    seed: int
    cache: Path
    intensity: IntensityRule = field(default_factory=IntensityRule)
    cache_limit: float = 0.0
    read: ReadFiles = field(default_factory=ReadFiles, compare=False)
    listing: ListedItems | None = field(default=None, compare=False)

    def relative(self, path: Path) -> str:
        """Return a file's path as seen from ``root``, with ``/``."""
        text, root = str(path), f"{self.root}{os.sep}"
        below = text.startswith(root) and ".." not in text  # of most files, and much faster
        return (text[len(root) :] if below else os.path.relpath(path, self.root)).replace(os.sep, "/")

    def note(self, path: Path) -> None:
        """Take down a file that is read beside the images, such as a table; raises DataError if it cannot be read."""
        self.read.add(self.relative(path), state_of(path).size, sha256_of(path))


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
