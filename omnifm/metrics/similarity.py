"""How alike two images are: PSNR and SSIM, one value an image."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(found: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of images in [0, 1], in dB: ``-10 log10 mean (found - truth)^2``.

    Args:
        found: ``(batch, channels, *size)``.
        truth: of the same shape.

    Returns:
        ``(batch,)``; images that are equal reach 100 dB, as an error of 10^-10 does: no mean becomes infinite.
    """
    error = (found.double() - truth.double()).square().flatten(1).mean(dim=1)
    return -10 * torch.log10(error.clamp(min=1e-10)).float()


def ssim(found: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of images in [0, 1], a mean over channels (Wang et al., IEEE TIP 13, 2004).

    Windows are Gaussian, 11 pixels wide, sigma 1.5, K1 = 0.01, K2 = 0.03; at the border, where a window leaves the
    image, nothing is judged.

    Args:
        found: ``(batch, channels, *size)``, at least 11 pixels on a side.
        truth: of the same shape.

    Returns:
        ``(batch,)``. It has a gradient.
    """
    return ssim_map(found, truth).flatten(1).mean(dim=1)


def ssim_map(found: Tensor, truth: Tensor) -> Tensor:
    """Return the same window by window: ``(batch, channels, *size)``, each axis 10 shorter than the images'."""
    from monai.metrics.regression import compute_ssim_and_cs  # takes seconds to import

    axes = found.dim() - 2
    places: Tensor
    places, _ = compute_ssim_and_cs(found, truth, axes, kernel_size=(11,) * axes, kernel_sigma=(1.5,) * axes)
    return places
