"""Magnetic resonance: the equations of spin echo and inversion recovery, the coil, Rician noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from omnifm.data.phantom.anatomy import Array
from omnifm.data.phantom.tissues import CSF, ENHANCING, GREY, TISSUES, WHITE, Tissue

RELAXIVITY = {1.5: 4.78, 3.0: 4.97}
"""Of gadobutrol in human plasma at 37 C, 1/(mM s), by field strength (Szomolanyi et al. 2019)."""
CONTRAST_AGENT = {ENHANCING: 0.45}
"""Concentration in mM after the injection; chosen by us. The barrier of healthy brain lets none in."""


@dataclass(frozen=True)
class Sequence:
    """Repetition, echo, inversion time (0: none) in ms. ``reference`` tissue is shown at ``brightness``."""

    repetition: float
    echo: float
    inversion: float = 0.0
    contrast_agent: bool = False
    reference: int = WHITE
    brightness: float = 0.6


SEQUENCES = {
    "T1": Sequence(550, 14),
    "T1ce": Sequence(550, 14, contrast_agent=True),
    "T2": Sequence(4500, 95, reference=CSF, brightness=0.85),
    "PD": Sequence(3000, 18, reference=GREY, brightness=0.75),
    "FLAIR": Sequence(9000, 110, inversion=1.0, reference=GREY, brightness=0.45),
}
"""Typical clinical times, chosen by us; FLAIR's inversion time is a factor on the one that silences fluid."""


def spin_echo(pd: float, t1: float, t2: float, repetition: float, echo: float) -> float:
    """Return the signal ``PD (1 - exp(-TR/T1)) exp(-TE/T2)``; times in ms."""
    return float(pd * (1 - np.exp(-repetition / t1)) * np.exp(-echo / t2))


def inversion_recovery(pd: float, t1: float, t2: float, repetition: float, echo: float, inversion: float) -> float:
    """Return the signal ``PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2)``, which may be negative."""
    recovered = 1 - 2 * np.exp(-inversion / t1) + np.exp(-repetition / t1)
    return float(pd * recovered * np.exp(-echo / t2))


def silencing_time(t1: float, repetition: float) -> float:
    """Return the inversion time (ms) at which a tissue of this T1 gives no signal."""
    return float(t1 * np.log(2 / (1 + np.exp(-repetition / t1))))


def sequence(modality: str, field_strength: float, timing: tuple[float, float, float]) -> Sequence:
    """Return the sequence of one scanner: ``timing`` is a factor on each of its times."""
    base = SEQUENCES[modality]
    repetition, echo = base.repetition * timing[0], base.echo * timing[1]
    inversion = 0.0
    if base.inversion:
        t1 = TISSUES[CSF].t1[0 if field_strength == 1.5 else 1]
        inversion = silencing_time(t1, repetition) * timing[2]
    return replace(base, repetition=repetition, echo=echo, inversion=inversion)


def signals(tissues: tuple[Tissue, ...], sequence: Sequence, field_strength: float) -> Array:
    """Return the signal of each tissue, ``(tissues,)``."""
    which = 0 if field_strength == 1.5 else 1
    found = []
    for index, tissue in enumerate(tissues):
        t1, t2 = tissue.t1[which], tissue.t2[which]
        if sequence.contrast_agent and index in CONTRAST_AGENT:
            t1 = 1000 / (1000 / t1 + RELAXIVITY[field_strength] * CONTRAST_AGENT[index])
        if sequence.inversion:
            signal = inversion_recovery(tissue.pd, t1, t2, sequence.repetition, sequence.echo, sequence.inversion)
        else:
            signal = spin_echo(tissue.pd, t1, t2, sequence.repetition, sequence.echo)
        found.append(signal)
    return np.array(found, dtype=np.float32)


def sensitivity(shape: tuple[int, ...], strength: float, rng: np.random.Generator) -> Array:
    """Return the coil's sensitivity ``(*shape)``: smooth, about 1, relative deviation ``strength``."""
    field = np.zeros(shape)
    for _ in range(4):
        axes = [rng.uniform(-2.5, 2.5) * np.linspace(-0.5, 0.5, n) for n in shape]
        phase = sum(np.ix_(*axes), np.array(rng.uniform(0, 2 * np.pi)))
        field += np.sin(phase)
    spread = float(field.std())
    field = (field - field.mean()) / (spread if spread > 0 else 1.0)
    return np.asarray(np.exp(strength * field), dtype=np.float32)


def rician(signal: Array, sigma: float, rng: np.random.Generator) -> Array:
    """Return the magnitude of ``signal`` with Gaussian noise ``sigma`` in both channels.

    Source: Gudbjartsson and Patz, The Rician distribution of noisy MRI data, 1995.
    """
    real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary), dtype=np.float32)
