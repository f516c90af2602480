"""The diseases: where each sits, how large it is, and of which layers it is built. Ranges are chosen by us.

A lesion is a list of layers, painted in order: each turns part of the tissues it may enter (``hosts``) into
its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from omnifm.data.phantom.anatomy import Anatomy, Array
from omnifm.data.phantom.shapes import Blob, Shape, Wedge
from omnifm.data.phantom.tissues import (
    BLOOD,
    CHRONIC_INFARCT,
    CSF,
    ENHANCING,
    GREY,
    INFARCT,
    NECROSIS,
    OEDEMA,
    OLD_BLOOD,
    PLAQUE,
    WHITE,
    Tissue,
)

Hosts = tuple[tuple[int, float], ...]
BRAIN: Hosts = ((GREY, 1.0), (WHITE, 1.0))
MOSTLY_WHITE: Hosts = ((GREY, 0.4), (WHITE, 1.0))
ALL_INSIDE: Hosts = ((CSF, 1.0), (GREY, 1.0), (WHITE, 1.0), (OEDEMA, 1.0), (ENHANCING, 1.0))


@dataclass(frozen=True)
class Layer:
    """One region that turns into one tissue; ``hosts`` are those it replaces, with the share it can take."""

    tissue: int
    shape: Shape
    hosts: Hosts


@dataclass(frozen=True)
class Lesion:
    """What is wrong with a patient. ``ages`` are the tissues that are on their way to another state.

    ``centre`` ``(3,)`` is the place in the atlas that the patient's slice shows. ``push`` is the share by
    which the tissue there gives way to what grows, felt over ``reach`` mm.
    """

    centre: Array

    layers: tuple[Layer, ...] = ()
    ages: tuple[tuple[int, Tissue, float], ...] = ()
    push: float = 0.0
    reach: float = 1.0


def anchor(anatomy: Anatomy, rng: np.random.Generator, level: float, kind: str) -> Array:
    """Draw a point ``(3,)`` of the atlas at height ``level`` mm where such a lesion may sit."""
    points, (grey, white), (surface, ventricle) = anatomy.plane(round(level))
    weight = {
        "healthy": white,
        "glioma": white * (surface < -12) + 0.2 * grey * (surface < -6),
        "infarct": grey * (surface < -3) * (surface > -15) * (ventricle > 15),
        "haemorrhage": (white + grey) * (surface < -9) * np.exp(-np.square((ventricle - 14) / 12)),
        "ms": white * (white > 0.7) * np.exp(-np.square((ventricle - 5) / 5)) + 1e-3 * white,
    }[kind]
    total = np.cumsum(weight, dtype=np.float64)
    chosen: Array = points[np.searchsorted(total, rng.random() * total[-1])].copy()
    return chosen


def healthy(anatomy: Anatomy, rng: np.random.Generator, site: Array) -> Lesion:
    """No lesion."""
    return Lesion(site)


def glioma(anatomy: Anatomy, rng: np.random.Generator, site: Array) -> Lesion:
    """Necrotic core, enhancing rim and oedema along the white matter."""
    radius = float(rng.uniform(14, 28))
    tumour = Blob.random(rng, site, radius, roughness=0.18, edge=2.0)
    core = tumour.scaled(float(rng.uniform(0.45, 0.85)))
    swelling = Blob.random(rng, site, radius + float(rng.uniform(4, 16)), roughness=0.22, edge=7.0)
    layers = (
        Layer(OEDEMA, swelling, MOSTLY_WHITE),
        Layer(ENHANCING, tumour, ALL_INSIDE),
        Layer(NECROSIS, core, ALL_INSIDE),
    )
    return Lesion(site, layers, push=float(rng.uniform(0.05, 0.4)), reach=1.6 * radius)


def infarct(anatomy: Anatomy, rng: np.random.Generator, site: Array) -> Lesion:
    """Wedge with its base at the cortex, or a small deep spot; any age between a day and a year."""
    age = float(rng.beta(0.4, 0.7))
    if rng.random() < 0.2:
        site = anchor(anatomy, rng, float(site[2]), "haemorrhage")
        shape: Shape = Blob.random(rng, site, float(rng.uniform(8, 14)), edge=2.5)
    else:
        apex = np.array([0.35 * site[0], 0.6 * site[1] + 0.4 * -18.0, site[2]])
        apex = apex + rng.normal(0, [3, 5, 3])
        shape = Wedge.random(rng, apex, site, float(rng.uniform(20, 40)))
    return Lesion(site, (Layer(INFARCT, shape, BRAIN),), ages=((INFARCT, CHRONIC_INFARCT, age),))


def haemorrhage(anatomy: Anatomy, rng: np.random.Generator, site: Array) -> Lesion:
    """Clotted blood with a thin rim of oedema; mostly fresh, some weeks old."""
    radius = float(rng.uniform(11, 25))
    clot = Blob.random(rng, site, radius, stretch=0.25, roughness=0.15)
    rim = clot.scaled(1 + float(rng.uniform(2, 8)) / radius)
    layers = (Layer(OEDEMA, rim, MOSTLY_WHITE), Layer(BLOOD, clot, ALL_INSIDE))
    age = float(rng.beta(0.6, 1.6))
    push = float(rng.uniform(0.05, 0.4))
    return Lesion(site, layers, ((BLOOD, OLD_BLOOD, age),), push=push, reach=1.6 * radius)


def ms(anatomy: Anatomy, rng: np.random.Generator, site: Array) -> Lesion:
    """Ovoid plaques in the white matter, most of them near the ventricles and the level of ``site``."""
    layers = []
    for index in range(int(rng.integers(8, 20))):
        place = site
        if index:
            level = float(np.clip(site[2] + rng.normal(0, 7), -10, 60))
            place = anchor(anatomy, rng, level, "ms")
        radial = place - np.array([0.2 * place[0], 0.6 * place[1], place[2]])
        radius = float(rng.uniform(3.0, 7.5) if index else rng.uniform(4.5, 8.0))
        blob = Blob.random(rng, place, radius, stretch=0.3, along=radial)
        layers.append(Layer(PLAQUE, blob, ((WHITE, 1.0), (GREY, 0.3))))
    return Lesion(site, tuple(layers))


LESION_KINDS: dict[str, Callable[[Anatomy, np.random.Generator, Array], Lesion]] = {
    "healthy": healthy,
    "glioma": glioma,
    "infarct": infarct,
    "haemorrhage": haemorrhage,
    "ms": ms,
}
"""What a patient may have, by name. A new disease is a function, its entry and its place in ``anchor``."""
