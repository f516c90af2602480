"""Pictures of predictions, as files in an arm's folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from omnifm.tasks.task import Panel, Picture


def save_panels(folder: Path, client: str, panels: Iterable[Panel]) -> list[dict[str, Any]]:
    """Write a client's pictures below the arm's folder; return what they show and their files, for ``result.json``."""
    place = folder / "pictures"
    place.mkdir(exist_ok=True)

    def save(picture: Picture, name: str) -> dict[str, str]:
        path = place / f"{quote(client, safe=' ')}-{name}.png"  # a client may be called PET/CT
        Image.fromarray(picture.pixels).save(path)
        return {"title": picture.title, "file": str(path.relative_to(folder))}

    return [
        {
            "given": [save(picture, f"{number}-{place}") for place, picture in enumerate(panel.given)],
            "found": panel.found and save(panel.found, f"{number}-found"),
            "caption": panel.caption,
            "right": panel.right,
            "question": panel.question,
        }
        for number, panel in enumerate(panels)
    ]
