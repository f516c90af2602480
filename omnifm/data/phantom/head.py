"""The head at given points: the brain, wrapped in fluid, skull and scalp, with the lesion painted in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omnifm.data.phantom.anatomy import Anatomy, Array
from omnifm.data.phantom.lesions import Layer
from omnifm.data.phantom.tissues import BONE, CSF, FAT, GREY, MARROW, SKIN, TISSUES, WHITE

SHELLS = (CSF, BONE, MARROW, BONE, FAT, SKIN)
"""The layers around the brain, from inside to outside: fluid, inner table, marrow, outer table, fat, skin."""


def wrap(anatomy: Anatomy, places: Array, thickness: Array) -> tuple[Array, Array]:
    """Return the fractions ``(tissues, n)`` at ``places`` ``(n, 3)`` of the atlas, and the inside ``(n,)``.

    ``thickness`` ``(6,)`` is that of the :data:`SHELLS` in mm. The second value is 1 in the brain's hull, 0
    outside.
    """
    brain, (surface, _) = anatomy.sample(places)
    fractions = np.zeros((len(TISSUES), len(places)), dtype=np.float32)
    fractions[GREY], fractions[WHITE] = brain
    solid = brain.sum(0)
    start = np.float32(0)
    beyond = np.clip(np.float32(0.5) + surface, 0, 1)  # the share of the point that is outside of the last shell
    inside = 1 - beyond
    fractions[CSF] = inside * (1 - solid)
    for tissue, width in zip(SHELLS, thickness, strict=True):
        start = start + width
        further = np.clip(np.float32(0.5) + surface - start, 0, 1)
        fractions[tissue] += (beyond - further) * (1 - solid)
        beyond = further
    fractions[0] = beyond * (1 - solid)
    return fractions, inside


def paint(base: Array, places: Array, inside: Array, layers: Sequence[Layer]) -> Array:
    """Return ``base`` ``(tissues, n)`` after each layer took its part of its hosts; the sum stays 1."""
    painted = base.copy()
    for layer in layers:
        cover = layer.shape.coverage(places) * inside
        touched = np.flatnonzero(cover)
        for host, share in layer.hosts:
            moved = painted[host, touched] * (cover[touched] * np.float32(share))
            painted[host, touched] -= moved
            painted[layer.tissue, touched] += moved
    return painted
