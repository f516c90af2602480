"""Similarity of two images: PSNR and SSIM, one value per image."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of images in [0, 1], in dB: ``-10 log10 mean (prediction - target)^2``.

    Args:
        prediction: ``(batch, channels, *size)``.
        target: of the same shape.

    Returns:
        ``(batch,)``; images that are equal reach 100 dB, as an error of 10^-10 does: no mean becomes infinite.
    """
    error = (prediction.double() - target.double()).square().flatten(1).mean(dim=1)
    return -10 * torch.log10(error.clamp(min=1e-10)).float()


def ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the structural similarity of images in [0, 1], a mean over channels (Wang et al., IEEE TIP 13, 2004).

    Windows are Gaussian, 11 pixels wide, sigma 1.5, K1 = 0.01, K2 = 0.03; at the border, where a window leaves the
    image, nothing is measured.

    Args:
        prediction: ``(batch, channels, *size)``, at least 11 pixels on a side.
        target: of the same shape.

    Returns:
        ``(batch,)``. It has a gradient.
    """
    return ssim_map(prediction, target).flatten(1).mean(dim=1)


def ssim_map(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the same window by window: ``(batch, channels, *size)``, each axis 10 shorter than the images'."""
    from monai.metrics.regression import compute_ssim_and_cs  # takes seconds to import

    axes = prediction.dim() - 2
    places: Tensor
    places, _ = compute_ssim_and_cs(prediction, target, axes, kernel_size=(11,) * axes, kernel_sigma=(1.5,) * axes)
    return places
