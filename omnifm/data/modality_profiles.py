"""What the images of each modality are like in the mean: their intensities and their spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.subset import ClientData, evenly_spaced

BINS = 64
MOST_IMAGES = 200
"""So many training images of each modality are looked at, evenly spaced over its clients."""

Spectrum = Callable[[Tensor, int], Tensor]
"""Turns images ``(batch, channels, *size)`` into centred log-amplitudes on a grid of a side, a bin a frequency."""


@dataclass(frozen=True)
class ModalityProfile:
    """Means over training images of one modality (or several, as clients hold them).

    ``histogram`` ``(BINS,)`` is the share of pixels at each intensity from 0 to 1; ``spectrum`` the mean log-amplitude
    at 0, 1, 2 ... cycles per image.
    """

    group: str
    images: int
    histogram: NDArray[np.float64]
    spectrum: NDArray[np.float64]


def modality_profiles(clients: Sequence[ClientData], spectrum: Spectrum) -> list[ModalityProfile]:
    """Return the profile of each group of modalities, sorted by name.

    Args:
        clients: those of a data set.
        spectrum: that of the network's adapter.
    """
    found = []
    for group in sorted({client.group for client in clients}):
        members = [client.train for client in clients if client.group == group]
        each = max(1, MOST_IMAGES // len(members))
        images = torch.cat(
            [train.batch(torch.tensor(evenly_spaced(len(train), each)))["image"] for train in members[:MOST_IMAGES]]
        )
        counts = np.histogram(images.numpy(), bins=BINS, range=(0, 1))[0]
        found.append(ModalityProfile(group, len(images), counts / prod(images.shape), _by_frequency(images, spectrum)))
    return found


def _by_frequency(images: Tensor, spectrum: Spectrum) -> NDArray[np.float64]:
    """Return the mean over images, channels and directions, for each whole number of cycles per image."""
    grid = 2 * ((min(images.shape[2:]) - 1) // 2) + 1
    mean = spectrum(images, grid).double().mean(dim=(0, 1)).numpy()
    offsets: Sequence[Any] = np.meshgrid(*[np.arange(grid) - grid // 2] * mean.ndim, indexing="ij")
    distance = np.sqrt(sum(offset**2 for offset in offsets)).round().astype(int).ravel()
    inside = distance <= grid // 2
    total = np.bincount(distance[inside], weights=mean.ravel()[inside])
    return np.asarray(total / np.bincount(distance[inside]))
