"""A hospital's machine: why the same head looks different elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnifm.utils.errors import did_you_mean
from omnifm.utils.seeding import numpy_generator

MODALITIES = ("T1", "T1ce", "T2", "PD", "FLAIR", "CT", "PET", "SPECT")
"""Magnetic resonance with five weightings (T1ce: after contrast agent), CT, FDG-PET, perfusion SPECT."""

_FWHM = {"CT": (0.8, 1.6), "PET": (4.5, 7.0), "SPECT": (7.5, 12.0)}
_NOISE = {"CT": (1.5, 3.5), "PET": (0.03, 0.08), "SPECT": (0.06, 0.14)}


@dataclass(frozen=True)
class Scanner:
    """One machine and how it is used.

    ``noise`` is a standard deviation: for MR a share of the reference tissue's signal, for CT in Hounsfield
    units, for PET and SPECT the relative one of the counts in a pixel of grey matter (before the
    reconstruction's filter). ``fwhm`` is the blur, full width at half maximum, and ``field_of_view`` the side
    of its images, both mm. ``gain`` multiplies the image (MR, PET, SPECT). ``bias`` is the relative standard
    deviation of the MR coil's uneven sensitivity. ``field_strength`` (1.5 or 3 T) and ``timing`` (a factor on
    repetition, echo and inversion time each) matter to MR only.

    Raises:
        ValueError: a value that no machine can have.
    """

    modality: str
    noise: float = 0.02
    fwhm: float = 1.5
    gain: float = 1.0
    field_of_view: float = 220.0
    bias: float = 0.1
    field_strength: float = 1.5
    timing: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"unknown modality {self.modality!r}. {did_you_mean(self.modality, MODALITIES)}")
        if min(self.noise, self.fwhm, self.bias) < 0 or min(self.gain, self.field_of_view, *self.timing) <= 0:
            raise ValueError("noise, fwhm and bias must be 0 or more; gain, field_of_view and timing more than 0")
        if self.field_strength not in (1.5, 3.0):
            raise ValueError(f"field_strength must be 1.5 or 3.0 (tesla), not {self.field_strength}")

    @classmethod
    def random(cls, modality: str, *, seed: int, name: str) -> Scanner:
        """Return the scanner for ``modality`` of the hospital ``name``: the same one for the same seed.

        All MR weightings of one hospital share one magnet, hence its field strength.
        """
        magnet = numpy_generator(seed, "magnet", name)
        rng = numpy_generator(seed, "scanner", name, modality)
        timing = np.exp(rng.normal(0, [0.08, 0.08, 0.02]))
        return cls(
            modality=modality,
            noise=float(rng.uniform(*_NOISE.get(modality, (0.01, 0.04)))),
            fwhm=float(rng.uniform(*_FWHM.get(modality, (0.8, 2.2)))),
            gain=float(np.exp(rng.normal(0, 0.08))),
            field_of_view=float(rng.uniform(196, 222)),
            bias=float(rng.uniform(0.03, 0.16)),
            field_strength=float(magnet.choice([1.5, 3.0])),
            timing=(float(timing[0]), float(timing[1]), float(timing[2])),
        )
