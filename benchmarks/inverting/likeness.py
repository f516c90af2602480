"""How like a patient's image a picture is that an attacker has made."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from omnifm.metrics.similarity import psnr, ssim

_CLEAR = 0.95


class Likeness(NamedTuple):
    """One value per image, ``(n,)`` each.

    ``found`` is 1 where the picture is more like its image than like any of the other candidates, by correlation, and
    0 elsewhere; ``clear`` is 1 where the correlation with its image is above 0.95.
    """

    correlation: Tensor
    psnr: Tensor
    ssim: Tensor
    found: Tensor
    clear: Tensor


def likeness(pictures: Tensor, images: Tensor, others: Tensor) -> Likeness:
    """Compare pictures with the images that they shall show; all are ``(n, channels, *size)`` in [0, 1].

    ``others`` are images of other patients: the candidates beside the right one.
    """
    pictures = pictures.float().clamp(0, 1)
    right, wrong = correlation(pictures, images).diagonal(), correlation(pictures, others).amax(dim=1)
    return Likeness(
        right, psnr(pictures, images), ssim(pictures, images), (right > wrong).float(), (right > _CLEAR).float()
    )


def correlation(one: Tensor, two: Tensor) -> Tensor:
    """Return the correlation of each of ``(n, ...)`` with each of ``(m, ...)``: ``(n, m)``."""
    rows = [part.flatten(1) - part.flatten(1).mean(dim=1, keepdim=True) for part in (one.double(), two.double())]
    first, second = (torch.nn.functional.normalize(part, dim=1) for part in rows)
    return (first @ second.T).float()
