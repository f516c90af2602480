"""What the report shows of test examples: what was given, and what each arm made of it."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from omnifm.results.run_reader import Run
from omnifm.results.scores import best_first
from omnifm.results.view import View

PICTURE_BYTES = 4_500_000
OPEN_CLIENTS = 8
OPEN_STRIPS = 3
CRISP_UP_TO = 96
"""Pictures of no more pixels a side are enlarged with their pixels to be seen, larger ones smoothly."""

_PNG = b"\x89PNG"


@dataclass(frozen=True)
class _Hung:
    """A picture as its file has it."""

    title: str
    data: bytes

    @property
    def key(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def view(self) -> View:
        width, height = struct.unpack(">II", self.data[16:24])
        # Base64 has no letter that HTML would read as its own.
        source = "data:image/png;base64," + base64.b64encode(self.data).decode()
        crisp = max(width, height) <= CRISP_UP_TO
        return {"title": self.title, "source": source, "width": width, "height": height, "crisp": crisp}


@dataclass
class _Example:
    """One test example: a question, if one was asked, what was given, and what the arms made or said."""

    question: str
    given: list[_Hung]
    made: list[tuple[str, _Hung, str, bool | None]] = field(default_factory=list)
    said: dict[tuple[str, bool | None], list[str]] = field(default_factory=dict)

    def pictures(self) -> Iterator[_Hung]:
        yield from self.given
        yield from (picture for _, picture, _, _ in self.made)

    def view(self) -> View:
        form = "strip" if self.made or len(self.given) > 1 else "asked" if self.question else "card"
        return {
            "form": form,
            "question": self.question,
            "given": [picture.view() for picture in self.given],
            "made": [
                {**picture.view(), "arm": arm, "caption": caption, "right": right}
                for arm, picture, caption, right in self.made
            ],
            "said": self.said,
        }


def pictures(run: Run) -> View | None:
    """Show each example once, with what every arm made of it: a picture or words; equal words stand together.

    When there is no more room, examples are left out whole, and every hospital keeps its first ones.
    """
    found = _examples(run)
    shown = _in_room(found)
    clients = [(client, shown[client]) for client in found if client in shown]
    if not clients:
        return None
    order = {name: place for place, name in enumerate(run.clients)}
    clients.sort(key=lambda pair: order.get(pair[0], len(order)))
    views = [(client, *_folded([example.view() for example in examples])) for client, examples in clients]
    kept = [example for _, examples in clients for example in examples]
    return {
        "open": views[:OPEN_CLIENTS],
        "folded": views[OPEN_CLIENTS:],
        "left_out": sum(map(len, found.values())) - len(kept),
        "judged": any(_judgements(kept)),
    }


def _folded(views: list[View]) -> tuple[list[View], list[View]]:
    """Return the examples to be seen at once, and those behind a fold: rows of pictures fill a page soon."""
    count = OPEN_STRIPS if views[0]["form"] == "strip" else len(views)
    return views[:count], views[count:]


def _examples(run: Run) -> dict[str, list[_Example]]:
    found: dict[str, dict[Any, _Example]] = {}
    for arm in best_first(run):
        for client, panels in (arm.result or {}).get("panels", {}).items():
            for panel in panels:
                given = [_read(arm.folder, picture) for picture in panel.get("given", ())]
                whole = [picture for picture in given if picture]
                question, caption, right = panel.get("question", ""), panel.get("caption", ""), panel.get("right")
                if len(whole) < len(given) or not (whole or question):
                    continue
                key = (question, *(picture.key for picture in whole))
                example = found.setdefault(client, {}).setdefault(key, _Example(question, whole))
                if made := _read(arm.folder, panel.get("found")):
                    example.made.append((arm.name, made, caption, right))
                elif caption:
                    example.said.setdefault((caption, right), []).append(arm.name)
    return {client: list(examples.values()) for client, examples in found.items()}


def _in_room(found: dict[str, list[_Example]]) -> dict[str, list[_Example]]:
    """Return as many examples as there is room for: the first of every hospital, then the second of every one."""
    room, shown = PICTURE_BYTES, dict[str, list[_Example]]()
    for turn in zip_longest(*found.values()):
        for client, example in zip(found, turn, strict=True):
            cost = sum(len(picture.data) for picture in example.pictures()) if example else 0
            if example and cost <= room:
                room -= cost
                shown.setdefault(client, []).append(example)
    return shown


def _judgements(examples: Iterable[_Example]) -> Iterator[bool]:
    """Tell of everything that was made or said whether it is known to be right or wrong."""
    for example in examples:
        yield from (right is not None for _, _, _, right in example.made)
        yield from (right is not None for _, right in example.said)


def _read(folder: Path, picture: dict[str, str] | None) -> _Hung | None:
    """Return a picture, or None if there is none or its file is no PNG."""
    if picture is None:
        return None
    try:
        data = (folder / picture["file"]).read_bytes()
    except OSError:
        return None
    return _Hung(picture.get("title", ""), data) if data.startswith(_PNG) and len(data) > 24 else None
