from __future__ import annotations

import pytest
import torch
from torch import nn

from omnifm.networks.edsr import EDSRBlock, FeatureExtractor, Features, Reconstruction


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_shapes(scale: int) -> None:
    features = FeatureExtractor(3, 8, 2)(torch.rand(2, 3, 5, 7))
    assert features.shallow.shape == features.deep.shape == (2, 8, 5, 7)
    head = Reconstruction(3, 8, scale)
    assert head(torch.rand(2, 35, 8), features).shape == (2, 3, 5 * scale, 7 * scale)
    assert sum(isinstance(layer, nn.PixelShuffle) for layer in head.enlarge) == {2: 1, 4: 2, 8: 3}[scale]


def test_a_block_without_weights_passes_on() -> None:
    block = EDSRBlock(4)
    for parameter in block.conv2.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x)


def test_contrast_is_not_normalised_away() -> None:
    extractor = FeatureExtractor(1, 8, 2)
    for name, parameter in extractor.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    image = torch.rand(1, 1, 6, 6)
    torch.testing.assert_close(extractor(3 * image).deep, 3 * extractor(image).deep)


def test_tokens_say_how_much_of_each_feature_counts_where() -> None:
    """A gain of one at one place and feature doubles it there, a shift is added there, and nowhere else."""
    head = Reconstruction(1, 2, 2)
    head.enlarge = nn.Sequential()
    head.last = nn.Identity()  # type: ignore[assignment]
    features = Features(torch.zeros(1, 2, 2, 3), torch.arange(12.0).view(1, 2, 2, 3))
    tokens = torch.zeros(1, 6, 2)
    tokens[0, 4, 1] = 1.0  # row 1, column 1; feature 1 decides
    with torch.no_grad():
        head.transform.weight[0, 1] = 1.0  # gain of feature 0
        head.transform.weight[3, 1] = 5.0  # shift of feature 1
    expected = features.deep.clone()
    expected[0, 0, 1, 1] *= 2
    expected[0, 1, 1, 1] += 5
    assert torch.equal(head(tokens, features), expected)


def test_an_untrained_reconstruction_adds_nothing() -> None:
    features = FeatureExtractor(1, 8, 1)(torch.rand(2, 1, 4, 4))
    assert not Reconstruction(1, 8, 4)(torch.rand(2, 16, 8), features).any()
