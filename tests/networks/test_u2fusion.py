from __future__ import annotations

import pytest
import torch

from omnifm.networks.u2fusion import DenseEncoder, ReconstructionDecoder


@pytest.mark.parametrize(("height", "width"), [(48, 48), (41, 44)])
def test_shapes_at_even_and_odd_sizes(height: int, width: int) -> None:
    encoder, decoder = DenseEncoder(8, 2), ReconstructionDecoder(8)
    sources = torch.rand(2, 2, height, width)
    skips = encoder(sources)
    assert skips.coarse.shape == (2, 8, -(-height // 2), -(-width // 2))
    assert skips.fine.shape == (2, 4, height, width)
    assert skips.sources is sources
    assert decoder(skips.coarse, skips).shape == (2, 1, height, width)


def test_an_untrained_network_returns_the_mean_of_the_sources() -> None:
    encoder, decoder = DenseEncoder(8, 2), ReconstructionDecoder(8)
    sources = torch.rand(2, 2, 16, 16)
    skips = encoder(sources)
    torch.testing.assert_close(decoder(skips.coarse, skips), sources.mean(dim=1, keepdim=True))


def test_every_layer_learns_and_the_image_stays_in_range() -> None:
    torch.manual_seed(0)
    encoder, decoder = DenseEncoder(8, 2), ReconstructionDecoder(8)
    torch.nn.init.normal_(decoder.out.weight)
    skips = encoder(torch.rand(2, 2, 16, 16))
    fused = decoder(skips.coarse, skips)
    assert 0 <= fused.min() < fused.max() <= 1
    fused.square().mean().backward()
    for module in (encoder, decoder):
        for name, weight in module.named_parameters():
            assert weight.grad is not None, name
            assert weight.grad.abs().max() > 0, name


def test_a_layer_sees_all_before_it() -> None:
    encoder = DenseEncoder(8, 3)
    assert [layer.in_channels for layer in encoder.dense] == [8, 12, 16]
    assert encoder.out.in_channels == 20
