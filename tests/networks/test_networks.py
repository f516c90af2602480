from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from omnifm.networks.compact import CompactEncoder
from omnifm.networks.normalisation import (
    Normalisation,
    is_normalisation,
    layers_with_statistics,
    measured_statistics,
    normalisation,
)
from omnifm.networks.resnet import ResNet18Encoder


@pytest.mark.parametrize(("size", "side"), [(28, 4), (32, 4), (48, 6), (64, 8), (16, 2), (1, 1)])
def test_compact_halves_three_times(size: int, side: int) -> None:
    encoder = CompactEncoder(3, 8, "batch").eval()
    assert encoder.width == 32
    assert encoder(torch.rand(2, 3, size, size)).shape == (2, 32, side, side)


@pytest.mark.parametrize(("size", "side"), [(28, 2), (32, 2), (48, 3), (64, 4)])
def test_resnet_halves_four_times(size: int, side: int) -> None:
    encoder = ResNet18Encoder(1, "batch").eval()
    assert encoder.width == 512
    assert encoder(torch.rand(2, 1, size, size)).shape == (2, 512, side, side)


def test_resnet_is_monais() -> None:
    encoder = ResNet18Encoder(3, "batch").eval()
    image = torch.rand(2, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image).mean(dim=(2, 3)), encoder.net(image))
    blocks = [len(stage) for stage in (encoder.net.layer1, encoder.net.layer2, encoder.net.layer3, encoder.net.layer4)]
    assert blocks == [2, 2, 2, 2]
    # The published ResNet-18 has 11,689,512 parameters, of which the classifier's are 513,000; MONAI adds a bias to
    # the convolutions of the three shortcuts.
    assert sum(p.numel() for p in encoder.parameters()) == 11_689_512 - 513_000 + 128 + 256 + 512


@pytest.mark.parametrize("norm", get_args(Normalisation))
@pytest.mark.parametrize("kind", ["compact", "resnet"])
def test_all_normalisation_is_of_the_kind_asked_for(norm: Normalisation, kind: str) -> None:
    encoder = CompactEncoder(1, 8, norm) if kind == "compact" else ResNet18Encoder(1, norm)
    found = {type(module) for module in encoder.modules() if is_normalisation(module)}
    assert found == {nn.GroupNorm if norm == "group" else nn.BatchNorm2d}


def test_group_normalisation_does_not_mix_images() -> None:
    encoder = CompactEncoder(1, 8, "group").train()
    images = torch.rand(3, 1, 16, 16)
    torch.testing.assert_close(encoder(images)[1:2], encoder(images[1:2]), rtol=1e-4, atol=1e-5)


def test_normalisation_layers() -> None:
    group = normalisation("group", 24)
    assert isinstance(group, nn.GroupNorm)
    assert group.num_groups == 8
    assert isinstance(normalisation("batch-personal", 24), nn.BatchNorm2d)
    assert is_normalisation(nn.BatchNorm3d(4))
    assert not is_normalisation(nn.LayerNorm(4))
    assert not is_normalisation(nn.Conv2d(1, 1, 1))


def test_measured_statistics_are_plain_means_over_the_batches() -> None:
    layer = nn.BatchNorm2d(1, momentum=0.3)
    layer.running_mean.fill_(100.0)
    batches = [torch.full((2, 1, 2, 2), value) for value in (1.0, 2.0, 6.0)]
    batches[0][0] = 5.0  # mean 3; variance 4, of which torch makes 4 * 8 / 7
    model = nn.Sequential(layer).eval()
    with measured_statistics(model):
        assert layer.training
        for batch in batches:
            assert not model(batch).requires_grad
    assert layer.running_mean.item() == pytest.approx((3 + 2 + 6) / 3)
    assert layer.running_var.item() == pytest.approx((32 / 7 + 0 + 0) / 3)
    assert layer.momentum == 0.3


def test_momentum_comes_back_after_an_error() -> None:
    layer = nn.BatchNorm2d(1)

    def fail() -> None:
        with measured_statistics(layer):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert layer.momentum == 0.1


def test_who_has_statistics() -> None:
    norm = nn.BatchNorm1d(1)
    assert layers_with_statistics(nn.Sequential(nn.Linear(1, 1), nn.Sequential(norm))) == [norm]
    assert not layers_with_statistics(nn.Sequential(nn.GroupNorm(1, 1), nn.LayerNorm(1)))


def test_every_parameter_of_the_compact_network_learns() -> None:
    torch.manual_seed(0)
    encoder = CompactEncoder(1, 8, "group")
    (encoder(torch.rand(2, 1, 16, 16)) * torch.randn(2, 32, 2, 2)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
