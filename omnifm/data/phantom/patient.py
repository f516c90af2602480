"""One synthetic person: an own head, disease and tissues, known exactly at any place and resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnifm.data.phantom.anatomy import CENTRE, Anatomy, Array
from omnifm.data.phantom.deformation import Deformation
from omnifm.data.phantom.head import paint, wrap
from omnifm.data.phantom.lesions import LESION_KINDS, Lesion, anchor
from omnifm.data.phantom.tissues import LESION_CODE, OEDEMA, TISSUE_CODE, TISSUES, Tissue
from omnifm.utils.errors import did_you_mean
from omnifm.utils.seeding import numpy_generator


@dataclass(frozen=True)
class Truth:
    """The content of each pixel or voxel of a grid.

    ``fractions`` ``(tissues, *spatial)`` float32 sum to 1 and follow the order of ``tissues``, the patient's
    own. ``tissue`` and ``lesion`` ``(*spatial)`` uint8 are the codes of ``TISSUE_CODES`` and
    ``LESION_CODES``; the first is the anatomy beneath the lesion. ``spacing`` is in mm, an axis each.
    """

    fractions: Array
    tissue: NDArray[np.uint8]
    lesion: NDArray[np.uint8]
    spacing: tuple[float, ...]
    tissues: tuple[Tissue, ...]


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One person.

    ``level`` is the height in mm of the slice through the lesion (if healthy, a random place of the
    same range), ``thickness`` ``(6,)`` that of the shells around the brain.
    """

    name: str
    kind: str
    level: float
    anatomy: Anatomy
    deformation: Deformation
    lesion: Lesion
    tissues: tuple[Tissue, ...]
    thickness: Array

    def slice(
        self, size: int = 64, *, field_of_view: float = 220.0, level: float | None = None, fine: int = 2
    ) -> Truth:
        """Return an axial slice ``(size, size)``: rows from front to back, columns from right to left.

        ``field_of_view`` is the side in mm, ``level`` the height in mm (None: the patient's own). Every pixel
        is the mean of ``fine`` x ``fine`` points.
        """
        height = np.array([self.level if level is None else level], dtype=np.float32)
        step = field_of_view / size
        found = self._truth(height, _centres(size, step, fine), _centres(size, step, fine), (1, fine, fine))
        return Truth(found.fractions[:, 0], found.tissue[0], found.lesion[0], (step, step), self.tissues)

    def volume(
        self, shape: tuple[int, int, int] = (64, 64, 64), *, spacing: float = 3.5, centre: float = 10.0, fine: int = 1
    ) -> Truth:
        """Return a volume ``(z, y, x)``: slices from below to above, each as :meth:`slice` has it.

        ``spacing`` is in mm, ``centre`` the height of the middle in mm, ``fine`` the points per voxel and
        axis.
        """
        z, y, x = (_centres(count, spacing, fine) for count in shape)
        slabs = [self._truth(slab, y, x, (fine, fine, fine)) for slab in np.split(np.float32(centre) + z, shape[0])]
        return Truth(
            np.concatenate([slab.fractions for slab in slabs], axis=1),
            np.concatenate([slab.tissue for slab in slabs]),
            np.concatenate([slab.lesion for slab in slabs]),
            (spacing, spacing, spacing),
            self.tissues,
        )

    def _truth(self, heights: Array, back: Array, left: Array, fine: tuple[int, int, int]) -> Truth:
        """Return the truth on a grid: heights, and distances from the middle of the image, in mm."""
        grid = np.meshgrid(heights, CENTRE[1] - back, CENTRE[0] - left, indexing="ij")
        points = np.stack(grid[::-1], -1).reshape(-1, 3).astype(np.float32)
        places = self.deformation.to_atlas(points)
        base, inside = wrap(self.anatomy, _pushed(places, self.lesion), self.thickness)
        painted = paint(base, places, inside, self.lesion.layers)
        shape = (len(heights), len(back), len(left))
        fractions = _mean(painted.reshape(-1, *shape), fine)
        beneath = _mean(base[:OEDEMA].reshape(-1, *shape), fine)
        tissue = TISSUE_CODE[beneath.argmax(0)]
        sick = fractions[OEDEMA:]
        lesion = np.where(sick.sum(0) >= 0.5, LESION_CODE[sick.argmax(0)], np.uint8(0))
        return Truth(fractions, tissue, lesion, (), self.tissues)


def make_patient(anatomy: Anatomy, kind: str, *, seed: int, name: str) -> Patient:
    """Return the person called ``name``: the same one for the same seed, whoever else is made.

    ``kind`` is one of :data:`KINDS`.

    Raises:
        ValueError: no such kind.
    """
    if kind not in LESION_KINDS:
        raise ValueError(f"unknown kind of patient {kind!r}. {did_you_mean(kind, LESION_KINDS)}")
    rng = numpy_generator(seed, "patient", name)
    deformation = Deformation.random(rng)
    thickness = (np.array([2.0, 1.8, 3.0, 1.7, 3.0, 2.5]) * np.exp(rng.normal(0, 0.15, 6))).astype(np.float32)
    level = float(rng.uniform(0, 48))
    tissues = tuple(tissue.varied(rng) for tissue in TISSUES)
    lesion = LESION_KINDS[kind](anatomy, rng, anchor(anatomy, rng, level, kind))
    aged = list(tissues)
    for index, other, share in lesion.ages:
        aged[index] = aged[index].towards(other, share)
    height = float(deformation.to_patient(lesion.centre[None])[0, 2])
    return Patient(
        name=name,
        kind=kind,
        level=height,
        anatomy=anatomy,
        deformation=deformation,
        lesion=lesion,
        tissues=tuple(aged),
        thickness=thickness,
    )


def _centres(count: int, step: float, fine: int) -> Array:
    """Return the places of ``count * fine`` points, in mm from the middle."""
    total = count * fine
    return ((np.arange(total) - (total - 1) / 2) * (step / fine)).astype(np.float32)


def _mean(values: Array, fine: tuple[int, int, int]) -> Array:
    """Return the means of blocks of ``fine`` points, summed by hand: numpy is slow over short axes."""
    z, y, x = fine
    parts = [values[:, i::z, j::y, k::x] for i in range(z) for j in range(y) for k in range(x)]
    found = parts[0].copy()
    for part in parts[1:]:
        found += part
    found /= np.float32(len(parts))
    return found


def _pushed(places: Array, lesion: Lesion) -> Array:
    """Return where in the atlas the tissue was that the growing lesion pushed to ``places``."""
    if lesion.push == 0:
        return places
    away = places - lesion.centre
    give = np.exp(np.square(away).sum(-1, keepdims=True) / np.float32(-2 * lesion.reach**2))
    return np.asarray(places - np.float32(lesion.push) * give * away, dtype=np.float32)
