from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from omnifm.networks.normalisation import Normalisation, is_normalisation
from omnifm.networks.unet import UNetDecoder, UNetEncoder


@pytest.mark.parametrize(("axes", "size"), [(2, (16, 24)), (3, (8, 8, 16))])
def test_shapes_there_and_back(axes: int, size: tuple[int, ...]) -> None:
    encoder, decoder = (
        UNetEncoder(axes, 2, width=8, depth=2, norm="batch"),
        UNetDecoder(axes, 3, width=8, depth=2, norm="batch"),
    )
    bottleneck, skips = encoder(torch.rand(2, 2, *size))
    assert encoder.width == 32
    assert bottleneck.shape == (2, 32, *(side // 4 for side in size))
    assert [skip.shape[1:] for skip in skips] == [(8, *size), (16, *(side // 2 for side in size))]
    assert decoder(bottleneck, skips).shape == (2, 3, *size)


@pytest.mark.parametrize("norm", get_args(Normalisation))
@pytest.mark.parametrize("axes", [2, 3])
def test_all_normalisation_is_of_the_kind_asked_for(norm: Normalisation, axes: int) -> None:
    halves = [UNetEncoder(axes, 1, width=8, depth=1, norm=norm), UNetDecoder(axes, 1, width=8, depth=1, norm=norm)]
    layers = [module for half in halves for module in half.modules() if is_normalisation(module)]
    assert len(layers) == 4 + 2
    batch = nn.BatchNorm2d if axes == 2 else nn.BatchNorm3d
    assert {type(layer) for layer in layers} == {nn.GroupNorm if norm == "group" else batch}
    assert all(layer.num_groups == 8 for layer in layers if isinstance(layer, nn.GroupNorm))


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    encoder, decoder = (
        UNetEncoder(2, 1, width=8, depth=2, norm="group"),
        UNetDecoder(2, 1, width=8, depth=2, norm="group"),
    )
    decoder(*encoder(torch.rand(2, 1, 16, 16))).square().sum().backward()
    for half in (encoder, decoder):
        for name, parameter in half.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_the_skips_reach_the_output() -> None:
    torch.manual_seed(0)
    encoder, decoder = (
        UNetEncoder(2, 1, width=8, depth=1, norm="batch").eval(),
        UNetDecoder(2, 1, width=8, depth=1, norm="batch").eval(),
    )
    bottleneck, skips = encoder(torch.rand(1, 1, 8, 8))
    assert not torch.equal(decoder(bottleneck, skips), decoder(bottleneck, [torch.zeros_like(skip) for skip in skips]))
