"""What the report shows of test examples: what was given, and what each arm made of it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from omnifm.results.result_folder import ArmRecord

PICTURE_BYTES = 4_500_000
CRISP_UP_TO = 96
"""Pictures of no more pixels a side are enlarged with their pixels to be seen, larger ones smoothly."""

_PNG = b"\x89PNG"


@dataclass(frozen=True)
class PictureFile:
    """A PNG file of an arm."""

    title: str
    data: bytes

    @property
    def source(self) -> str:
        """The picture as a URL; base64 has no letter that HTML would read as its own."""
        return "data:image/png;base64," + base64.b64encode(self.data).decode()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = struct.unpack(">II", self.data[16:24])
        return int(width), int(height)

    @property
    def crisp(self) -> bool:
        """Whether its pixels are to be seen."""
        return max(self.size) <= CRISP_UP_TO


class Made(NamedTuple):
    """A picture that an arm made of an example. ``right`` is None where that cannot be said."""

    arm: str
    picture: PictureFile
    caption: str
    right: bool | None


@dataclass
class Example:
    """One test example: a question, if one was asked, what was given, and what the arms made or said."""

    question: str
    given: list[PictureFile]
    made: list[Made] = field(default_factory=list)
    said: dict[tuple[str, bool | None], list[str]] = field(default_factory=dict)

    @property
    def form(self) -> str:
        """The layout: pictures in a row, a question next to its picture, or a card."""
        return "strip" if self.made or len(self.given) > 1 else "asked" if self.question else "card"

    @property
    def cost(self) -> int:
        """The bytes of its pictures."""
        return sum(len(picture.data) for picture in (*self.given, *(made.picture for made in self.made)))

    def evaluations(self) -> Iterator[bool | None]:
        """Return whether each prediction is right."""
        yield from (made.right for made in self.made)
        yield from (right for _, right in self.said)


def read_examples(arms: list[ArmRecord]) -> tuple[dict[str, list[Example]], int]:
    """Return the examples of each client, and how many more were left out to keep the report small.

    Each example appears once, with the prediction of every arm: a picture or words; equal words are grouped. Every
    client keeps its first examples.
    """
    found: dict[str, dict[Any, Example]] = {}
    for arm in arms:
        for client, panels in arm.cells[0].result.get("panels", {}).items():
            for panel in panels:
                _add(arm.name, arm.cells[0].folder, panel, found.setdefault(client, {}))
    room, shown = PICTURE_BYTES, dict[str, list[Example]]()
    for turn in zip_longest(*(examples.values() for examples in found.values())):
        for client, example in zip(found, turn, strict=True):
            if example and example.cost <= room:
                room -= example.cost
                shown.setdefault(client, []).append(example)
    return shown, sum(map(len, found.values())) - sum(map(len, shown.values()))


def _add(arm: str, folder: Path, panel: dict[str, Any], examples: dict[Any, Example]) -> None:
    """Add what an arm made of an example, unless what was given is lost."""
    given = [picture for entry in panel.get("given", ()) if (picture := _read(folder, entry))]
    question, caption, right = panel.get("question", ""), panel.get("caption", ""), panel.get("right")
    if len(given) < len(panel.get("given", ())) or not (given or question):
        return
    example = examples.setdefault((question, *(picture.data for picture in given)), Example(question, given))
    if made := _read(folder, panel.get("found")):
        example.made.append(Made(arm, made, caption, right))
    elif caption:
        example.said.setdefault((caption, right), []).append(arm)


def _read(folder: Path, picture: dict[str, str] | None) -> PictureFile | None:
    """Return a picture, or None if there is none or its file is no PNG."""
    if picture is None:
        return None
    try:
        path = (folder / picture["file"]).resolve()
        if not path.is_relative_to(folder.resolve()):  # of a run that others have made
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return PictureFile(picture.get("title", ""), data) if data.startswith(_PNG) and len(data) > 24 else None
