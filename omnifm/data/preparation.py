"""How the images of an experiment were prepared for its networks, so that new ones are prepared alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omnifm.data.federated_dataset import DataSettings
from omnifm.data.reading import IntensityRule
from omnifm.utils.errors import ExperimentError


@dataclass(frozen=True)
class Preparation:
    """From an image in its file to what a network takes.

    ``intensity`` is the rule by which numbers become [0, 1], ``modality`` what the settings say where the header says
    nothing. ``axes`` is 3 where volumes were taken whole; with 2, every slice of a volume is an image of its own. An
    image becomes ``size`` pixels a side: all of it, or each window of ``tile`` pixels (0: all of it), or
    ``field_of_view`` mm around the middle of what it shows (0: all of it).
    """

    intensity: IntensityRule
    modality: str
    size: int
    channels: int
    axes: int = 2
    tile: int = 0
    field_of_view: float = 0.0

    def described(self) -> dict[str, Any]:
        """Return it as plain values, for programs that prepare images elsewhere."""
        plain = asdict(self)
        if self.intensity.rule != "window":
            plain["intensity"].pop("window")
        return plain


def preparation_of(data: DataSettings, axes: int, modality: str = "") -> Preparation:
    """Return how the images of a modality were prepared.

    Args:
        data: the settings of the experiment's data.
        axes: of the images that its networks see.
        modality: as the sources call it, several joined by ``+``; empty: any.

    Raises:
        ExperimentError: the sources prepare their images in several ways, and the modality does not say which.
    """
    wanted = set(modality.split("+")) if modality else set()
    matching = [source for source in data.sources if wanted & set(_modalities(source))] or list(data.sources)
    ways = list(dict.fromkeys(_prepared(source, data, axes, modality) for source in matching))
    if len(ways) > 1:
        known = sorted({name for source in data.sources for name in _modalities(source)})
        raise ExperimentError(
            f"The sources of the experiment prepare their images in {len(ways)} ways (intensity, tile or field of view "
            f"differ): name the modality of these images ({', '.join(known)})."
        )
    return ways[0]


def _prepared(source: Any, data: DataSettings, axes: int, modality: str) -> Preparation:
    named = _modalities(source)
    return Preparation(
        intensity=getattr(source, "intensity", IntensityRule()),
        modality=modality if modality in named else named[0] if len(named) == 1 else "",
        size=data.size,
        channels=data.channels,
        axes=axes,
        tile=getattr(source, "tile", 0),
        field_of_view=float(getattr(source, "field_of_view", 0.0)),
    )


def _modalities(source: Any) -> Sequence[str]:
    """Return the modalities that a source names in its settings; none where its files say them."""
    if one := getattr(source, "modality", ""):
        return (one,)
    return tuple(getattr(source, "modalities", ()) or getattr(source, "sequences", ()) or getattr(source, "pairs", ()))
