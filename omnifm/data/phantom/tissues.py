"""What the head is made of, and how magnets, X-rays and tracers see it. Sources: ``docs/phantom.md``.

Relaxation times are in milliseconds at (1.5 T, 3 T). ``pd`` is the proton density relative to water. ``hu``
is the CT number in Hounsfield units. ``fdg`` and ``flow`` are the uptake of the PET and SPECT tracers, white
matter = 1. ``spread`` is the relative standard deviation of all of these between patients (of ``hu``: of its
distance to water, plus 1 HU).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Tissue:
    """One tissue; units in the text above."""

    name: str
    t1: tuple[float, float]
    t2: tuple[float, float]
    pd: float
    hu: float
    fdg: float
    flow: float
    spread: float = 0.03

    def varied(self, rng: np.random.Generator) -> Tissue:
        """Return this tissue as it is in one patient."""
        t1, t2, pd, fdg, flow = np.exp(self.spread * rng.standard_normal(5)).tolist()
        return replace(
            self,
            t1=(self.t1[0] * t1, self.t1[1] * t1),
            t2=(self.t2[0] * t2, self.t2[1] * t2),
            pd=min(self.pd * pd, 1.0),
            hu=self.hu if self.pd == 0 and self.hu < 0 else self.hu * pd + float(rng.standard_normal()),
            fdg=self.fdg * fdg,
            flow=self.flow * flow,
        )

    def towards(self, other: Tissue, share: float) -> Tissue:
        """Return the state between this tissue (``share`` 0) and the other (1): a lesion that ages."""

        def mix(a: float, b: float) -> float:
            return (1 - share) * a + share * b

        return replace(
            self,
            t1=(mix(self.t1[0], other.t1[0]), mix(self.t1[1], other.t1[1])),
            t2=(mix(self.t2[0], other.t2[0]), mix(self.t2[1], other.t2[1])),
            pd=mix(self.pd, other.pd),
            hu=mix(self.hu, other.hu),
            fdg=mix(self.fdg, other.fdg),
            flow=mix(self.flow, other.flow),
        )


# The order of TISSUES is the order of the first axis of ``Truth.fractions``.
AIR, CSF, GREY, WHITE, BONE, MARROW, FAT, SKIN, OEDEMA, NECROSIS, ENHANCING, INFARCT, BLOOD, PLAQUE = range(14)

TISSUES: tuple[Tissue, ...] = (
    Tissue("air", (1.0, 1.0), (1.0, 1.0), 0.0, -1000, 0.0, 0.0, 0.0),
    Tissue("cerebrospinal fluid", (2569, 4163), (329, 329), 1.00, 6, 0.10, 0.05, 0.02),
    Tissue("grey matter", (833, 1331), (83, 110), 0.86, 38, 4.0, 4.0),
    Tissue("white matter", (500, 832), (70, 79.6), 0.77, 29, 1.0, 1.0),
    Tissue("cortical bone", (300, 300), (1.0, 1.0), 0.05, 1100, 0.15, 0.1, 0.05),
    Tissue("marrow of the skull", (370, 400), (60, 60), 0.45, 500, 0.5, 0.2, 0.10),
    Tissue("fat", (350, 370), (70, 70), 0.90, -90, 0.25, 0.1),
    Tissue("skin and muscle", (900, 1250), (47, 45), 0.85, 45, 0.7, 0.4),
    Tissue("oedema", (900, 1350), (155, 155), 0.90, 19, 0.7, 0.7, 0.10),
    Tissue("necrosis", (1500, 2100), (220, 220), 0.94, 13, 0.25, 0.15, 0.12),
    Tissue("enhancing tumour", (950, 1450), (110, 115), 0.88, 35, 4.2, 2.8, 0.15),
    Tissue("infarct", (950, 1400), (140, 145), 0.88, 21, 0.6, 0.5, 0.10),
    Tissue("blood", (850, 1350), (60, 50), 0.85, 68, 0.2, 0.1, 0.10),
    Tissue("plaque", (752, 1150), (237, 210), 0.76, 24, 0.8, 0.8, 0.10),
)

CHRONIC_INFARCT = Tissue("infarct", (1900, 2900), (250, 250), 0.96, 10, 0.2, 0.15)
OLD_BLOOD = Tissue("blood", (520, 700), (110, 105), 0.88, 48, 0.2, 0.1)

TISSUE_CODES = {"air": 0, "csf": 1, "grey": 2, "white": 3, "bone": 4, "scalp": 5}
"""The integers of ``Truth.tissue``: the anatomy as it would be without the lesion."""

LESION_CODES = {"none": 0, "necrosis": 1, "oedema": 2, "enhancing": 4, "infarct": 5, "blood": 6, "plaque": 7}
"""The integers of ``Truth.lesion``. Those of glioma (1, 2, 4) are the BraTS codes; 3 is not used."""

TISSUE_CODE = np.array([0, 1, 2, 3, 4, 4, 5, 5], dtype=np.uint8)
LESION_CODE = np.array([2, 1, 4, 5, 6, 7], dtype=np.uint8)
