"""How much information an image holds, and how much of one image is in another; one value an image.

Images are ``(batch, 1, height, width)`` in [0, 1]; histograms are over the 256 values of 8 bits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omnifm.metrics.filters import gaussian, separable

VIF_LEAST_SIDE = 41
"""The fewest pixels on a side at which all four scales of :func:`visual_information_fidelity` have a window."""
_NOISE = 2.0  # variance of the eye's own noise, for values of 0 to 255
_TINY = 1e-10


def entropy(image: Tensor) -> Tensor:
    """Return Shannon's entropy of the grey values, in bits: ``(batch,)``, at most 8."""
    return _bits(_shares(_eight_bits(image), 256))


def mutual_information(found: Tensor, source: Tensor) -> Tensor:
    """Return the mutual information, in bits, of grey values at the same place: ``(batch,)``.

    ``H(found) + H(source) - H(found, source)`` (Qu, Zhang and Yan, Electronics Letters 38, 2002).
    """
    one, other = _eight_bits(found), _eight_bits(source)
    both = _bits(_shares(256 * one + other, 256**2))
    return _bits(_shares(one, 256)) + _bits(_shares(other, 256)) - both


def visual_information_fidelity(found: Tensor, reference: Tensor) -> Tensor:
    """Return VIF of the pixel domain: the information on ``reference`` that is left in ``found``, as a share of all.

    Sheikh and Bovik, IEEE TIP 15, 2006, in their own simplification without wavelets (``vifp``): four scales, Gaussian
    windows of 17, 9, 5 and 3 pixels, sigma a fifth of that, noise of variance 2 for values of 0 to 255. It is 1 where
    both images are equal and above 1 where ``found`` has more contrast. A reference without any information is left
    whole by whatever is found: 1.

    Args:
        found: ``(batch, 1, height, width)`` in [0, 1], at least :data:`VIF_LEAST_SIDE` pixels on a side.
        reference: of the same shape.

    Returns:
        ``(batch,)``.
    """
    seen, true = 255 * found.double(), 255 * reference.double()
    left = all_ = torch.zeros(len(found), dtype=torch.float64, device=found.device)
    for scale in range(4):
        width = 2 ** (4 - scale) + 1
        window = gaussian(width, width / 5)
        if scale:
            seen, true = (separable(image, window)[..., ::2, ::2] for image in (seen, true))
        products = torch.cat([true, seen, true * true, seen * seen, true * seen], dim=1)
        mean_true, mean_seen, true_true, seen_seen, true_seen = separable(products, window).unbind(dim=1)
        variance_true = (true_true - mean_true**2).clamp(min=0)
        variance_seen = (seen_seen - mean_seen**2).clamp(min=0)
        gain = (true_seen - mean_true * mean_seen) / (variance_true + _TINY)
        lost = variance_seen - gain * (true_seen - mean_true * mean_seen)
        # Where either is flat, or contrast is turned round, nothing is seen of the reference.
        blind = (variance_true < _TINY) | (variance_seen < _TINY) | (gain < 0)
        gain = gain.masked_fill(blind, 0.0)
        lost = torch.where(blind, variance_seen, lost).clamp(min=_TINY)
        variance_true = torch.where(variance_true < _TINY, 0.0, variance_true)
        left = left + torch.log1p(gain**2 * variance_true / (lost + _NOISE)).flatten(1).sum(dim=1)
        all_ = all_ + torch.log1p(variance_true / _NOISE).flatten(1).sum(dim=1)
    return torch.where(all_ > 0, left / all_.clamp(min=_TINY), 1.0).float()


def _eight_bits(image: Tensor) -> Tensor:
    return (image.flatten(1).clamp(0, 1) * 255).round().long()


def _shares(values: Tensor, count: int) -> Tensor:
    """Return how often each of the values 0 to ``count - 1`` occurs in each row, as a share: ``(batch, count)``."""
    ones = torch.full_like(values, 1 / values.shape[1], dtype=torch.float64)
    return torch.zeros(len(values), count, dtype=torch.float64, device=values.device).scatter_add(1, values, ones)


def _bits(shares: Tensor) -> Tensor:
    bits: Tensor = torch.special.entr(shares).sum(dim=1) / math.log(2)
    return bits.float()
