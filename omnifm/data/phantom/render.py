"""From truth to image. One truth rendered by several scanners gives images that match place by place."""

from __future__ import annotations

import numpy as np

from omnifm.data.phantom import ct, mri, nuclear
from omnifm.data.phantom.anatomy import Array
from omnifm.data.phantom.blur import blur
from omnifm.data.phantom.patient import Truth
from omnifm.data.phantom.scanner import Scanner
from omnifm.data.phantom.tissues import GREY, TISSUES


def render(truth: Truth, scanner: Scanner, rng: np.random.Generator) -> Array:
    """Return the image ``(*spatial)`` float32 in [0, 1] that the scanner makes of the truth.

    The grey scale is fixed by the scanner, not by the image, so that it reveals nothing of the disease: in MR a
    nominal tissue has a set brightness (``mri.SEQUENCES``), CT shows the brain window, PET and SPECT show
    nominal grey matter at 0.75; what is brighter than 1 is clipped.
    """
    if scanner.modality in mri.SEQUENCES:
        image = _magnetic(truth, scanner, rng)
    elif scanner.modality == "CT":
        image = _tomography(truth, scanner, rng)
    else:
        image = _nuclear(truth, scanner, rng)
    return np.clip(image, 0, 1)


def _mix(values: Array, truth: Truth) -> Array:
    return np.asarray(np.tensordot(values, truth.fractions, 1), dtype=np.float32)


def _magnetic(truth: Truth, scanner: Scanner, rng: np.random.Generator) -> Array:
    sequence = mri.sequence(scanner.modality, scanner.field_strength, scanner.timing)
    nominal = float(mri.signals(TISSUES, sequence, scanner.field_strength)[sequence.reference])
    signal = _mix(mri.signals(truth.tissues, sequence, scanner.field_strength) / np.float32(nominal), truth)
    signal = blur(signal, scanner.fwhm, truth.spacing) * mri.sensitivity(signal.shape, scanner.bias, rng)
    scale = np.float32(sequence.brightness * scanner.gain)
    return np.asarray(mri.rician(signal, scanner.noise, rng) * scale)


def _tomography(truth: Truth, scanner: Scanner, rng: np.random.Generator) -> Array:
    values = blur(_mix(ct.hounsfield(truth.tissues), truth), scanner.fwhm, truth.spacing)
    noise = np.float32(scanner.noise) * rng.standard_normal(values.shape, dtype=np.float32)
    return ct.window(values + noise)


def _nuclear(truth: Truth, scanner: Scanner, rng: np.random.Generator) -> Array:
    nominal = float(nuclear.uptake(TISSUES, scanner.modality)[GREY])
    share = blur(_mix(nuclear.uptake(truth.tissues, scanner.modality), truth), scanner.fwhm, truth.spacing) / nominal
    if scanner.noise > 0:
        counts = 1 / scanner.noise**2  # in a pixel of grey matter: the relative deviation of N counts is 1 / sqrt(N)
        share = nuclear.counted(share * np.float32(counts), rng) / np.float32(counts)
        share = blur(share, nuclear.FILTER[scanner.modality], truth.spacing)
    return np.asarray(share * np.float32(nuclear.BRIGHTNESS * scanner.gain))
