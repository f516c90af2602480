"""One picture of all attempts: a row each, the same patients from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inverting.attempts import Attempt

_PATIENTS = 6


def draw_sheet(attempts: Sequence[Attempt], path: Path) -> None:
    """Draw the images of the first patients, and below what each attempt made of them."""
    from matplotlib.figure import Figure

    images = attempts[0].images[:_PATIENTS]
    shown = [one for one in attempts if len(one.images) >= _PATIENTS and one.images[:_PATIENTS].equal(images)]
    rows = [("the patient's image", images), *((one.name, one.pictures) for one in shown)]
    figure = Figure(figsize=(3.2 + 0.62 * _PATIENTS, 0.64 * len(rows)), layout="constrained")
    for axes, (name, pictures) in zip(figure.subplots(len(rows), _PATIENTS), rows, strict=True):
        for place, picture in zip(axes, pictures, strict=False):
            place.imshow(picture[0].clamp(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            place.set_axis_off()
        axes[0].text(-0.1, 0.5, name, transform=axes[0].transAxes, ha="right", va="center", fontsize=7, wrap=True)
    figure.savefig(path, dpi=90)
