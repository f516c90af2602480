"""What the report shows of test examples: what was given, and what each arm made of it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from omnifm.results.run_reader import Run
from omnifm.results.scores import best_first
from omnifm.results.view import View

PICTURE_BYTES = 3_000_000
OPEN_CLIENTS = 8


class _Gallery:
    """Pictures as they stand in a page, until there is no more room."""

    def __init__(self) -> None:
        self.room = PICTURE_BYTES
        self.left_out = 0
        self._hung: dict[str, str] = {}

    def hang(self, folder: Path, picture: dict[str, str] | None) -> View | None:
        """Return a picture with its ``source``, or None if there is none, its file is no PNG, or the room is full."""
        data = _read_png(folder / picture["file"]) if picture else None
        if picture is None or data is None:
            return None
        key = hashlib.sha256(data).hexdigest()
        if key not in self._hung:
            if len(data) > self.room:
                self.left_out += 1
                return None
            self.room -= len(data)
            # Base64 has no letter that HTML would read as its own.
            self._hung[key] = "data:image/png;base64," + base64.b64encode(data).decode()
        return {"title": picture.get("title", ""), "source": self._hung[key]}


def pictures(run: Run) -> View | None:
    """Show each example once, with what every arm made of it: a picture or words; equal words stand together."""
    gallery = _Gallery()
    found: dict[str, dict[Any, View]] = {}
    for arm in best_first(run):
        for client, panels in (arm.result or {}).get("panels", {}).items():
            shown = found.setdefault(client, {})
            for panel in panels:
                given = [gallery.hang(arm.folder, picture) for picture in panel["given"]]
                hung = [picture for picture in given if picture]
                if len(hung) < len(given):
                    continue
                key = (panel.get("question", ""), *(picture["source"] for picture in hung))
                example = shown.setdefault(key, {"given": hung, "question": key[0], "made": [], "said": {}})
                if made := gallery.hang(arm.folder, panel.get("found")):
                    example["made"].append({**made, "arm": arm.name, "caption": panel.get("caption", "")})
                elif caption := panel.get("caption", ""):
                    example["said"].setdefault((caption, panel.get("right")), []).append(arm.name)
    clients = [(client, list(found[client].values())) for client in found if found[client]]
    if not clients:
        return None
    order = {name: place for place, name in enumerate(run.clients)}
    clients.sort(key=lambda pair: order.get(pair[0], len(order)))
    return {"open": clients[:OPEN_CLIENTS], "folded": clients[OPEN_CLIENTS:], "left_out": gallery.left_out}


def _read_png(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if data.startswith(b"\x89PNG") else None
