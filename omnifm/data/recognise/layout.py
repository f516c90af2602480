"""A layout: what a folder was recognised as, and what that makes of its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from omnifm.data.recognise.folder_contents import FolderContents

TEACHES = {
    "label": "classification",
    "mask": "segmentation",
    "answer": "vqa",
    "pair": "image_fusion",
    "image": "super_resolution",
}
"""Which task each column of a manifest serves; plain images serve the last."""


@dataclass(frozen=True)
class FolderLayout:
    """What a folder holds.

    Attributes:
        name: what it is called, such as ``class folders``.
        rows: the manifest, its paths relative to the folder; with columns as of a manifest.
        settings: of the source, such as ``regions`` and ``axes``.
        recognised: what is certain, a sentence each.
        guessed: what is likely, and should be looked at, a sentence each.
        source: in place of a manifest, the entry of a source that reads the folder as it is.
        teaches: what can be learned: keys of :data:`TEACHES`, the likeliest first.
        of_table: whether it was read from a table, and so as the hints ``label`` and ``table`` say.
    """

    name: str
    rows: pd.DataFrame
    teaches: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    recognised: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    source: dict[str, Any] | None = None
    of_table: bool = False


@dataclass(frozen=True)
class Hints:
    """What a user says of a folder beforehand; empty, it is to be found out."""

    label: str = ""
    table: str = ""
    modality: str = ""


Recogniser = Callable[[FolderContents, Hints], FolderLayout | None]
"""Looks at a folder and returns its layout, or None if it is another.

A recogniser raises :class:`~omnifm.utils.errors.DataError` where it knows the layout but cannot tell one reading from
another: the message says what to add.
"""
