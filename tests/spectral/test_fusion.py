from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from omnifm.spectral.fusion import PrototypeFusion, attend


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def reference(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int) -> np.ndarray:
    """Attention of one sample, head by head."""
    width = query.shape[1] // heads
    columns = [slice(h * width, (h + 1) * width) for h in range(heads)]
    parts = [softmax(query[:, c] @ key[:, c].T / np.sqrt(width)) @ value[:, c] for c in columns]
    return np.concatenate(parts, axis=1)


def linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_by_hand(heads: int) -> None:
    query, key, value = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    found = attend(query, key, value, heads)
    for sample in range(2):
        expected = reference(query[sample].numpy(), key[sample].numpy(), value[sample].numpy(), heads)
        np.testing.assert_allclose(found[sample], expected, rtol=1e-4, atol=1e-5)


def test_fusion_asks_with_the_pooled_tokens() -> None:
    torch.manual_seed(0)
    fusion = PrototypeFusion(dim=4, prototype_dim=3, prefix_tokens=2, heads=2)
    tokens, prototypes = torch.randn(2, 6, 4), torch.randn(2, 5, 3)
    found = fusion(tokens, prototypes).detach().numpy()
    assert found.shape == (2, 2, 4)
    for sample in range(2):
        r, s = tokens[sample].numpy(), prototypes[sample].numpy()
        pooled = np.stack([r[:3].mean(axis=0), r[3:].mean(axis=0)])
        expected = reference(linear(fusion.query, pooled), linear(fusion.key, s), linear(fusion.value, s), 2)
        np.testing.assert_allclose(found[sample], expected, rtol=1e-4, atol=1e-5)


def test_without_attention_the_mean_stands_for_every_query() -> None:
    torch.manual_seed(0)
    fusion = PrototypeFusion(dim=4, prototype_dim=3, prefix_tokens=2, heads=2, attention=False)
    prototypes = torch.randn(1, 5, 3)
    found = fusion(torch.randn(1, 6, 4), prototypes)[0].detach().numpy()
    mean = linear(fusion.value, prototypes[0].numpy().mean(axis=0))
    np.testing.assert_allclose(found, [mean, mean], rtol=1e-4, atol=1e-5)
    assert {name.split(".")[0] for name, _ in fusion.named_parameters()} == {"value"}


def test_more_prefix_tokens_than_tokens() -> None:
    fusion = PrototypeFusion(dim=4, prototype_dim=3, prefix_tokens=5, heads=1)
    assert fusion(torch.randn(2, 1, 4), torch.randn(2, 1, 3)).shape == (2, 5, 4)


@pytest.mark.parametrize(("length", "windows"), [(6, 2), (7, 3), (36, 4), (3, 5), (1, 4)])
def test_pooling_is_adaptive_average_pooling(length: int, windows: int) -> None:
    fusion = PrototypeFusion(dim=4, prototype_dim=3, prefix_tokens=windows, heads=1)
    tokens, prototypes = torch.randn(2, length, 4), torch.randn(2, 5, 3)
    pooled = nn.functional.adaptive_avg_pool1d(tokens.transpose(1, 2), windows).transpose(1, 2)
    expected = attend(fusion.query(pooled), fusion.key(prototypes), fusion.value(prototypes), 1)
    torch.testing.assert_close(fusion(tokens, prototypes), expected)
