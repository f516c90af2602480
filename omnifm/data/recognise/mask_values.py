"""What the masks of a folder hold: one region, a map of labels, or colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnifm.data.reading import read_image
from omnifm.data.subset import evenly_spaced
from omnifm.utils.errors import DataError

_LOOKED_AT = 12
"""So many masks are looked into, evenly spaced."""
_MOST_REGIONS = 32
"""A mask with more different values than this is no map of labels."""


def regions_seen(masks: Sequence[Path]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of a source for masks such as these, and what has been guessed.

    Names of regions are not in such files: they are called by their values.
    """
    values: set[float] = set()
    colours: set[tuple[int, ...]] = set()
    for index in evenly_spaced(len(masks), _LOOKED_AT):
        try:
            image = read_image(masks[index])
        except DataError:
            continue  # `data check` names what cannot be read
        if not image.is_grey:
            colours |= {tuple(int(part) for part in colour) for colour in _different(image.values)}
        else:
            grey = image.values[..., 0] if image.colour else image.values
            values |= {float(value) for value in np.unique(grey)[: _MOST_REGIONS + 2]}
    codes = sorted(value for value in values if value)
    if colours:
        shown = [hexadecimal(colour) for colour in sorted(colours) if any(colour)]
        if len(shown) <= _MOST_REGIONS:
            return {"regions": [{"name": f"colour {one}", "colours": [one]} for one in shown]}, [_NAMES]
        return {"threshold": 128}, ["The masks hold many colours: what is half bright or more is taken as the region."]
    if len(codes) > _MOST_REGIONS:
        return {"threshold": 128}, ["The masks hold many values: what is 128 or more is taken as the region."]
    if len(codes) > 1 and all(value.is_integer() and value > 0 for value in codes):
        return {"regions": [{"name": f"label {code:g}", "values": [int(code)]} for code in codes]}, [_NAMES]
    return {"region": "foreground"}, ["The masks show one region, called 'foreground': rename it in the experiment."]


_NAMES = "The masks hold several regions, called by their values: rename them in the experiment."


def hexadecimal(colour: Sequence[int]) -> str:
    """Return a colour as it stands in settings: ``#ff0000``."""
    return "#" + "".join(f"{part:02x}" for part in colour)


def _different(values: NDArray[Any]) -> NDArray[Any]:
    """Return the different colours of an image, no more than matter."""
    return np.unique(values.reshape(-1, 3), axis=0)[: _MOST_REGIONS + 2]
