from __future__ import annotations

import pytest
import torch

from omnifm.spectral.real_spectrum import RealSpectrum
from omnifm.spectral.spectrum import low_pass_log_amplitude


@pytest.mark.parametrize("size", [(16, 16), (15, 22), (9, 8, 7)])
def test_it_is_the_spectrum_without_complex_numbers(size: tuple[int, ...]) -> None:
    images = torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(0))
    made = RealSpectrum(size, rho=0.6, grid=5)
    assert not any(buffer.is_complex() for buffer in made.buffers())
    torch.testing.assert_close(made(images), low_pass_log_amplitude(images, 0.6, 5), atol=2e-6, rtol=1e-5)
