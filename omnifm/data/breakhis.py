"""BreaKHis: microscopic images of breast tumours at four magnifications (Spanhol et al., IEEE TBME 63, 2016)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch

from omnifm.data.reading.files import images_among, warn_of_others
from omnifm.data.reading.intensity import Intensity
from omnifm.data.source import Loading
from omnifm.data.source_images import SourceImages
from omnifm.data.subset import SourceTable, evenly_spaced
from omnifm.data.tile_folder import check_tiles, prepared_tiles
from omnifm.utils.errors import DataError
from omnifm.utils.settings import CountOrZero, OneOf, Some, settings

MAGNIFICATIONS = ("40X", "100X", "200X", "400X")
CLASSES = ("benign", "malignant")
LAYOUT = "BreaKHis_v1/histology_slides/breast/<benign|malignant>/SOB/<type>/<slide>/<magnification>/*.png"

# SOB_B_A-14-22549AB-40-001.png: procedure, class, type, year, slide, magnification, number. The letters after the
# number of a slide tell the blocks of one case apart.
_NAME = re.compile(r"SOB_(?P<cls>[BM])_[A-Z]+-(?P<case>\d+-\d+)[A-Z]*-(?P<magnification>40|100|200|400)-\d+\.png")


class Micrograph(NamedTuple):
    """One image file, and what its name says."""

    path: Path
    label: int
    patient: str
    magnification: str


@settings
class BreaKHisSource:
    """BreaKHis as published, at ``<root>/<folder>/BreaKHis_v1``; the magnification counts as the modality.

    ``magnifications`` are those to read. ``one_magnification`` takes each patient's images of one magnification only
    (of those there are, the one that has the fewest patients so far), so that hospitals of one magnification each have
    patients of their own. ``tile`` is the side of the tiles that images are cut into (0: whole images); ``tiles`` the
    most of each image, evenly spaced (0: all). ``limit`` takes at most that many images of each magnification, evenly
    spaced over the sorted paths (0: all). ``name`` is the institution's. The label is benign or malignant. Blocks of
    one case (14-22549AB, 14-22549CD) count as one patient. No split is published. ``intensity``
    says how the numbers of the images become intensities (without it ``data.intensity`` does).
    """

    kind: Literal["breakhis"] = "breakhis"
    folder: str = "breakhis"
    magnifications: Some[Annotated[str, OneOf(MAGNIFICATIONS)]] = MAGNIFICATIONS
    one_magnification: bool = False
    tile: CountOrZero = 0
    tiles: CountOrZero = 0
    limit: CountOrZero = 0
    name: str = "breakhis"
    intensity: Intensity | None = None

    def __post_init__(self) -> None:
        check_tiles(self.tile, self.tiles)

    def load(self, loading: Loading) -> SourceTable:
        """Read and cut the images."""
        folder = loading.root / self.folder
        found = self._chosen(_micrographs(folder), folder)
        reader = SourceImages(loading, "", self.intensity)
        cut = prepared_tiles(loading, self, [one.path for one in found], self.tile, self.tiles, reader)
        shown = cut.repeated(found)
        return SourceTable(
            fields={**cut.fields, "label": torch.tensor([one.label for one in shown])},
            label_names=CLASSES,
            patients=tuple(f"{self.name}/{one.patient}" for one in shown),
            modalities=tuple(one.magnification for one in shown),
            institutions=(self.name,) * len(shown),
        )

    def _chosen(self, found: list[Micrograph], folder: Path) -> list[Micrograph]:
        """Return the images to read, magnification by magnification."""
        for name in self.magnifications:
            if not any(one.magnification == name for one in found):
                held = sorted({one.magnification for one in found}, key=MAGNIFICATIONS.index)
                raise DataError(
                    f"{folder}: holds no image at {name}, but at {', '.join(held) or 'no magnification'}. Put them as "
                    f"{LAYOUT}, or leave {name} out of magnifications."
                )
        if self.one_magnification:
            kept = self._magnification_of(found)
            found = [one for one in found if one.magnification == kept.get(one.patient)]
        chosen = []
        for name in self.magnifications:
            mine = [one for one in found if one.magnification == name]
            chosen += [mine[index] for index in evenly_spaced(len(mine), self.limit)]
        return chosen

    def _magnification_of(self, found: list[Micrograph]) -> dict[str, str]:
        """Return which magnification of each patient is kept."""
        held: dict[str, list[str]] = {}
        for name in self.magnifications:
            for patient in sorted({one.patient for one in found if one.magnification == name}):
                held.setdefault(patient, []).append(name)
        kept: dict[str, str] = {}
        patients: Counter[str] = Counter()
        for patient, names in sorted(held.items(), key=lambda item: (len(item[1]), item[0])):  # first who has no choice
            kept[patient] = min(names, key=lambda name: patients[name])
            patients[kept[patient]] += 1
        return kept


def _micrographs(folder: Path) -> list[Micrograph]:
    """Return all images of any magnification, sorted by their paths."""
    top = folder / "BreaKHis_v1/histology_slides/breast"
    if not top.is_dir():
        raise DataError(f"{top}: no such folder. Unpack BreaKHis_v1.tar.gz in {folder}, or correct folder.")
    paths, others = images_among(top.glob("*/SOB/*/*/*/*"), folder)
    warn_of_others(top, others)
    return [_read(path) for path in paths]


def _read(path: Path) -> Micrograph:
    """Return what the name of an image says."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise DataError(
            f"{path}: is not named as BreaKHis's images are (SOB_B_A-14-22549AB-40-001.png), so its patient cannot be "
            "told. Give it its published name, or read its folder with kind = 'tile_folder'."
        )
    label, magnification = "BM".index(match["cls"]), f"{match['magnification']}X"
    if (path.parts[-6], path.parent.name) != (CLASSES[label], magnification):
        raise DataError(
            f"{path}: by its name it is {CLASSES[label]}, {magnification}, by its folders {path.parts[-6]}, "
            f"{path.parent.name}. Put it where it belongs: {LAYOUT}."
        )
    return Micrograph(path, label, match["case"], magnification)
