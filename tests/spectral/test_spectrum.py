from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from omnifm.spectral.spectrum import low_pass_log_amplitude


def reference(image: np.ndarray, rho: float, grid: int) -> np.ndarray:
    """One channel by NumPy: shift, crop, weigh by frequency, log, resample along each axis in turn."""
    axes = range(image.ndim)
    amplitude = np.fft.fftshift(np.abs(np.fft.fftn(image))) * 64 / image.size
    for axis, length in enumerate(image.shape):
        reach = min(max(1, round(rho * length / 2)), (length - 1) // 2)
        amplitude = amplitude.take(range(length // 2 - reach, length // 2 + reach + 1), axis)
    for place in itertools.product(*map(range, amplitude.shape)):
        middle = [n // 2 for n in amplitude.shape]
        amplitude[place] *= max(0.5, np.linalg.norm(np.subtract(place, middle)))
    spectrum = np.log1p(amplitude)
    for axis in axes:
        length = spectrum.shape[axis]
        at = np.linspace(0, length - 1, grid)
        spectrum = np.apply_along_axis(lambda line, at, n: np.interp(at, range(n), line), axis, spectrum, at, length)
    return spectrum


SIZES = [(48, 48), (64, 64), (28, 31), (33, 20), (3, 5), (2, 2), (1, 1), (17, 12, 9), (1, 6, 3)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("rho", "grid"), [(0.25, 15), (1.0, 5)])
def test_equals_numpy(size: tuple[int, ...], rho: float, grid: int) -> None:
    image = np.random.default_rng(0).random((2, 3, *size))
    found = low_pass_log_amplitude(torch.tensor(image), rho, grid)
    assert found.dtype == torch.float32
    expected = np.stack([[reference(channel, rho, grid) for channel in one] for one in image])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_no_resampling_where_the_band_fits_the_grid() -> None:
    image = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    found = low_pass_log_amplitude(image, rho=0.5, grid=7)[0, 0]
    assert found[3, 3] == pytest.approx(np.log1p(0.5 * image.sum().item() * 64 / 144), rel=1e-5)
    wave = torch.fft.fft2(image)[0, 0, 2, -1].abs().item() * 64 / 144
    assert found[3 + 2, 3 - 1] == pytest.approx(np.log1p(wave * 5**0.5), rel=1e-5)


@pytest.mark.parametrize("size", [(20, 23), (8, 9, 10)], ids=str)
def test_is_point_symmetric(size: tuple[int, ...]) -> None:
    spectrum = low_pass_log_amplitude(torch.rand(1, 2, *size), 0.7, 9)
    mirrored = spectrum.flip(tuple(range(2, spectrum.dim())))
    torch.testing.assert_close(spectrum, mirrored, rtol=1e-4, atol=1e-5)


def test_does_not_see_a_cyclic_shift() -> None:
    image = torch.rand(1, 1, 24, 24)
    moved = image.roll((5, -3), (2, 3))
    torch.testing.assert_close(low_pass_log_amplitude(moved), low_pass_log_amplitude(image), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(low_pass_log_amplitude(image.mT), low_pass_log_amplitude(image), atol=1e-2)


def picture(size: int) -> torch.Tensor:
    """Return a picture without frequencies above three cycles, sampled at any size."""
    x = 2 * torch.pi * torch.arange(size) / size
    y = x[:, None]
    made = 1 + torch.cos(x + 0.4) + 0.5 * torch.sin(2 * y - 1) + 0.3 * torch.cos(3 * x + 2 * y)
    return made[None, None]


@pytest.mark.parametrize("size", [16, 33, 64])
def test_same_picture_at_another_size_has_the_same_spectrum(size: int) -> None:
    # The band is a fraction of what the sampling can hold: five cycles are 10/32 of it at 32 pixels.
    at_32 = low_pass_log_amplitude(picture(32), rho=10 / 32, grid=11)
    other = low_pass_log_amplitude(picture(size), rho=10 / size, grid=11)
    torch.testing.assert_close(other, at_32, rtol=1e-4, atol=1e-4)
    assert at_32.max() > 1


def test_what_was_kept_from_an_evaluation_serves_a_gradient() -> None:
    # Of a size that no other test has: the constants are made here.
    image = torch.rand(1, 1, 19, 23)
    with torch.inference_mode():
        seen = low_pass_log_amplitude(image)
    again = low_pass_log_amplitude(image.requires_grad_())
    again.sum().backward()
    assert torch.equal(seen, again)
    assert image.grad is not None
    assert image.grad.abs().max() > 0


def test_of_a_mirrored_image_it_is_the_mirror() -> None:
    image = torch.rand(2, 1, 20, 24)
    found = low_pass_log_amplitude(image.flip(3))
    torch.testing.assert_close(found, low_pass_log_amplitude(image).flip(3), rtol=1e-4, atol=1e-5)
