from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from omnifm.metrics.similarity import psnr, ssim


def pair(channels: int = 1, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    truth = torch.nn.functional.interpolate(
        torch.rand(3, channels, 8, 9, generator=draw), size=(40, 36), mode="bicubic"
    )
    truth = truth.clamp(0, 1)
    return (truth + noise * torch.randn(truth.shape, generator=draw)).clamp(0, 1), truth


def test_psnr_by_hand() -> None:
    truth = torch.zeros(2, 1, 4, 4)
    found = truth + torch.tensor([0.1, 0.5]).view(2, 1, 1, 1)
    assert psnr(found, truth).tolist() == pytest.approx([20.0, 20 * math.log10(2)], abs=1e-4)
    assert psnr(truth, truth).tolist() == [100.0, 100.0]


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_is_skimages(channels: int) -> None:
    found, truth = pair(channels)
    expected = [peak_signal_noise_ratio(t.numpy(), f.numpy(), data_range=1) for f, t in zip(found, truth, strict=True)]
    assert psnr(found, truth).tolist() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_skimages(channels: int) -> None:
    found, truth = pair(channels)
    expected = [
        structural_similarity(
            t.double().numpy(),
            f.double().numpy(),
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for f, t in zip(found, truth, strict=True)
    ]
    assert ssim(found, truth).tolist() == pytest.approx(expected, abs=1e-4)
    assert ssim(truth, truth).tolist() == pytest.approx([1.0] * 3)
