from __future__ import annotations

import pytest
import torch

from omnifm.spectral.spectrum import low_pass_log_amplitude
from omnifm.spectral.tokenizer import FreqMixTokenizer


@pytest.fixture
def tokenizer() -> FreqMixTokenizer:
    torch.manual_seed(0)
    return FreqMixTokenizer(channels=2, bins=7 * 7, dim=5)


def spectra(count: int) -> torch.Tensor:
    image = torch.rand(count, 2, 20, 20, generator=torch.Generator().manual_seed(1))
    return low_pass_log_amplitude(image, grid=7)


def test_tokens_have_norm_one(tokenizer: FreqMixTokenizer) -> None:
    tokens = tokenizer(spectra(6))
    assert tokens.shape == (6, 5)
    torch.testing.assert_close(tokens.norm(dim=1), torch.ones(6))


def test_different_images_have_different_tokens(tokenizer: FreqMixTokenizer) -> None:
    one, other = tokenizer(spectra(2))
    assert one @ other < 0.999


def test_reads_one_half_of_the_bins_and_the_middle(tokenizer: FreqMixTokenizer) -> None:
    spectrum = spectra(1).requires_grad_()
    tokenizer(spectrum)[0, 0].backward()
    assert spectrum.grad is not None
    read = spectrum.grad[0].flatten(1) != 0
    assert read[:, :25].all()
    assert not read[:, 25:].any()


def test_the_half_not_read_of_a_real_image_is_the_other_mirrored(tokenizer: FreqMixTokenizer) -> None:
    spectrum = spectra(3)
    read = spectrum.flatten(2)[..., : tokenizer.bins]
    whole = torch.cat([read, read[..., :-1].flip(2)], dim=2)
    torch.testing.assert_close(whole, spectrum.flatten(2), rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(tokenizer: FreqMixTokenizer) -> None:
    target = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    (tokenizer(spectra(4)) * target).sum().backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_volumes_have_tokens_too() -> None:
    spectrum = low_pass_log_amplitude(torch.rand(2, 1, 9, 8, 7), grid=3)
    assert FreqMixTokenizer(channels=1, bins=3**3, dim=4)(spectrum).shape == (2, 4)
