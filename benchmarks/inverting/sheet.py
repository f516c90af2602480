"""One picture of all attempts: a row each, the same patients from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap

from inverting.attempts import Attempt
from PIL import Image

_PATIENTS = 6


def draw_sheet(attempts: Sequence[Attempt], path: Path) -> None:
    """Draw in grey the images of the first patients, and below what each attempt made of them, each row once."""
    from matplotlib.figure import Figure

    images = attempts[0].images[:_PATIENTS]
    rows = [("the patient's image", images)]
    for one in attempts:
        same = any(one.pictures[:_PATIENTS].equal(pictures) for _, pictures in rows)
        if not same and one.images[:_PATIENTS].equal(images):
            rows.append((one.name, one.pictures[:_PATIENTS]))
    figure = Figure(figsize=(2.6 + 0.6 * _PATIENTS, 0.6 * len(rows)), layout="constrained")
    for axes, (name, pictures) in zip(figure.subplots(len(rows), _PATIENTS), rows, strict=True):
        for place, picture in zip(axes, pictures, strict=True):
            place.imshow(picture[0].clamp(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            place.set_axis_off()
        lines = "\n".join(wrap(name, 34))
        axes[0].text(-0.1, 0.5, lines, transform=axes[0].transAxes, ha="right", va="center", fontsize=7)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=90)
    Image.open(drawn).convert("L").save(path, optimize=True)
