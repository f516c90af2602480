"""Pictures from amplitude spectra alone: what is missing is the phase of each frequency.

Alternating projections (Gerchberg and Saxton, Optik 35, 1972; hybrid input-output: Fienup, Applied Optics 21, 1982): a
picture takes the amplitudes that are known, then what is known of pictures, namely that they are not negative and where
patients usually are, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omnifm.spectral.spectrum import REFERENCE_PIXELS, band, frequencies, resampling

_BETA, _LAST = 0.9, 0.2
"""The feedback of hybrid input-output, and the share of steps at the end that only project."""


def zero_phase(amplitude: Tensor) -> Tensor:
    """Return the pictures whose phases are all zero, from amplitudes ``(n, 1, h, w)``, shifted into the middle."""
    return torch.fft.fftshift(torch.fft.ifft2(amplitude).real, dim=(-2, -1))


def retrieved(amplitude: Tensor, known: Tensor, start: Tensor, support: Tensor, steps: int) -> Tensor:
    """Return pictures of these amplitudes ``(n, 1, h, w)`` where ``known``, found from ``start`` on.

    Args:
        amplitude: of the discrete Fourier transform, zero frequency first.
        known: the frequencies whose amplitude is known, ``(h, w)``; the others are free.
        start: pictures ``(n, 1, h, w)`` to begin with.
        support: where a picture can be other than black, ``(h, w)``.
        steps: how many projections.
    """
    picture = start
    for step in range(steps):
        spectrum = torch.fft.fft2(picture)
        spectrum = torch.where(known, amplitude * torch.exp(1j * spectrum.angle()), spectrum)
        found = torch.fft.ifft2(spectrum).real
        if step >= (1 - _LAST) * steps:
            picture = found.clamp(0, 1) * support
        else:
            picture = torch.where(support & (found >= 0), found, picture - _BETA * found)
    return (picture * support).clamp(0, 1)


def misfit(picture: Tensor, amplitude: Tensor) -> Tensor:
    """Return how far the amplitudes of pictures ``(n, 1, h, w)`` are from those given, ``(n,)``."""
    return (torch.fft.fft2(picture).abs() - amplitude).flatten(1).norm(dim=1)


def best_of(pictures: list[Tensor], amplitude: Tensor) -> Tensor:
    """Return for each image the one of several pictures whose amplitudes fit best."""
    misfits = torch.stack([misfit(one, amplitude) for one in pictures])
    return torch.stack(pictures)[misfits.argmin(dim=0), torch.arange(len(amplitude))]


def registered(pictures: Tensor, mean: Tensor) -> Tensor:
    """Turn and shift pictures so that they are most like the mean image.

    An image, turned by 180 degrees or shifted around the border, has the same amplitudes: the attacker cannot tell
    them apart but by what images of that kind are like.
    """
    candidates = torch.stack([pictures, pictures.flip(-2, -1)])
    centred = mean - mean.mean()
    match = torch.fft.ifft2(torch.fft.fft2(candidates).conj() * torch.fft.fft2(centred)).real.flatten(2)
    best, width = match.flatten(2).max(dim=2), pictures.shape[-1]
    turned = best.values.argmax(dim=0)
    made = []
    for row, way in enumerate(turned.tolist()):
        down, right = divmod(int(best.indices[way, row]), width)
        made.append(candidates[way, row].roll((down, right), dims=(-2, -1)))
    return torch.stack(made)


def amplitude_of(spectrum: Tensor, size: Sequence[int], rho: float) -> tuple[Tensor, Tensor]:
    """Undo :func:`omnifm.spectral.spectrum.low_pass_log_amplitude`.

    Args:
        spectrum: ``(n, 1, grid, grid)``.
        size: of the images.
        rho: the share of the spectrum that was kept.

    Returns:
        The amplitudes ``(n, 1, h, w)``, zero frequency first, and which of them are known, ``(h, w)``.
    """
    bins, grid = [2 * reach + 1 for reach in band(size, rho)], spectrum.shape[-1]
    for count in reversed(bins):
        spectrum = (spectrum @ torch.linalg.pinv(resampling(count, grid, spectrum.device))).movedim(-1, 2)
    scaled = torch.expm1(spectrum).clamp(min=0) / frequencies(spectrum.shape[2:], spectrum.device)
    whole = torch.zeros(*spectrum.shape[:2], *size)
    rows, columns = (torch.arange(count) - count // 2 for count in bins)
    whole[..., rows[:, None], columns] = scaled * (size[0] * size[1] / REFERENCE_PIXELS**0.5)
    known = torch.zeros(size, dtype=torch.bool)
    known[rows[:, None], columns] = True
    return whole, known
