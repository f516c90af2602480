from __future__ import annotations

import pytest
import torch

from omnifm.networks.source_weights import information, pyramid, source_weights


def test_the_pyramid_halves_while_four_pixels_are_left() -> None:
    image = torch.rand(2, 1, 64, 80)
    assert [tuple(level.shape[2:]) for level in pyramid(image)] == [(64, 80), (32, 40), (16, 20), (8, 10), (4, 5)]
    assert [tuple(level.shape[2:]) for level in pyramid(image[..., :16, :16])] == [(16, 16), (8, 8), (4, 4)]
    torch.testing.assert_close(pyramid(image)[2], torch.nn.functional.avg_pool2d(image, 4))


def test_information_is_the_mean_square_of_the_gradient() -> None:
    ramp = (0.1 * torch.arange(8.0)).view(1, 1, 1, 8).expand(1, 2, 6, 8).clone()
    ramp[:, 1] *= 3  # two maps: mean of 0.01 and 0.09
    found = information([ramp], (6, 8))
    torch.testing.assert_close(found[..., :7], torch.full((1, 1, 6, 7), 0.05))
    assert not found[..., 7].any()  # there is no neighbour


def sources() -> torch.Tensor:
    """First busy on the left, second on the right, and both flat in the middle."""
    made = torch.zeros(1, 2, 16, 48)
    checks = ((torch.arange(16).view(-1, 1) + torch.arange(16)) % 2).float()
    made[0, 0, :, :16] = checks
    made[0, 1, :, 32:] = 0.5 * checks
    return made


def test_weights_go_where_the_information_is() -> None:
    weights = source_weights(sources(), lambda image: [image], 2.0, 5)
    assert weights.shape == (1, 2, 12, 44)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(1, 12, 44))
    assert weights[0, 0, :, 2] == pytest.approx(1.0)
    assert weights[0, 1, :, 40] == pytest.approx(1.0)
    assert weights[0, :, :, 20] == pytest.approx(0.5)


def test_sharpness_is_a_power_and_scale_is_of_no_matter() -> None:
    image = torch.rand(1, 2, 20, 20, generator=torch.Generator().manual_seed(0))
    image[:, 1] *= 0.5  # a quarter of the first's information, were both alike
    image[:, 0] = 2 * image[:, 1]
    for scale in (1.0, 0.2):
        assert source_weights(scale * image, pyramid, 1.0, 3)[:, 0] == pytest.approx(4 / 5, abs=1e-4)
    assert source_weights(image, pyramid, 2.0, 3)[:, 0] == pytest.approx(16 / 17, abs=1e-4)
    assert source_weights(image, pyramid, 0.0, 3) == pytest.approx(0.5)
