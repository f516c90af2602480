from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from omnifm.spectral.prompting import PrefixSuffixPrompting

DIM = 4
_erf = np.vectorize(math.erf)


def trained(suffix: bool = True, full_attention_up_to: int = 256) -> PrefixSuffixPrompting:
    """Return a layer whose every weight has been moved from its start."""
    torch.manual_seed(0)
    layer = PrefixSuffixPrompting(DIM, 1, suffix, full_attention_up_to)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return layer


def linear(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def norm(layer: nn.LayerNorm, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + layer.eps)
    return scaled * layer.weight.detach().numpy() + layer.bias.detach().numpy()


def reference(layer: PrefixSuffixPrompting, r: np.ndarray, context: np.ndarray) -> np.ndarray:
    """One head of pre-norm attention from ``r`` to ``context``, then the perceptron, both residual."""
    asked, told = norm(layer.norm_attention, r), norm(layer.norm_attention, context)
    scores = linear(layer.query, asked) @ linear(layer.key, told).T / np.sqrt(DIM)
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    r = r + linear(layer.out, weights @ linear(layer.value, told))
    hidden = linear(layer.feed_forward[0], norm(layer.norm_feed_forward, r))
    return r + linear(layer.feed_forward[2], hidden * 0.5 * (1 + _erf(hidden / np.sqrt(2))))


def sequences() -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, DIM, generator=numbers), torch.randn(2, 2, DIM, generator=numbers)


Context = Callable[[np.ndarray, np.ndarray, np.ndarray], list[np.ndarray]]


@pytest.mark.parametrize(
    ("up_to", "with_prefix", "context"),
    [
        (3, True, lambda z, r, c: [z, r, c]),
        (3, False, lambda z, r, c: [r, c]),
        (2, True, lambda z, r, c: [z, c]),
        (2, False, lambda z, r, c: [c]),
    ],
    ids=["full", "full, no prefix", "linear", "linear, no prefix"],
)
def test_layer_by_hand(up_to: int, with_prefix: bool, context: Context) -> None:
    layer = trained(full_attention_up_to=up_to)
    tokens, prefix = sequences()
    found = layer(tokens, prefix if with_prefix else None).detach().numpy()
    assert layer.suffix is not None
    suffix = layer.suffix[0].detach().numpy()
    for sample in range(2):
        r, z = tokens[sample].numpy(), prefix[sample].numpy()
        expected = reference(layer, r, np.concatenate(context(z, r, suffix)))
        np.testing.assert_allclose(found[sample], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("up_to", [2, 256])
def test_without_any_prompt_tokens_attend_to_themselves(up_to: int) -> None:
    layer = trained(suffix=False, full_attention_up_to=up_to)
    tokens, _ = sequences()
    expected = reference(layer, tokens[0].numpy(), tokens[0].numpy())
    np.testing.assert_allclose(layer(tokens, None)[0].detach(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("up_to", [2, 256])
def test_untrained_layer_passes_the_tokens_on(up_to: int) -> None:
    layer = PrefixSuffixPrompting(DIM, heads=2, full_attention_up_to=up_to)
    tokens, prefix = sequences()
    assert torch.equal(layer(tokens, prefix), tokens)


def test_an_untrained_layer_may_normalise_the_tokens() -> None:
    tokens, prefix = sequences()
    found = PrefixSuffixPrompting(DIM, heads=2, normalised=True)(tokens, prefix)
    expected = (tokens - tokens.mean(dim=2, keepdim=True)) / tokens.std(dim=2, correction=0, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_suffix_is_one_parameter_of_that_name_or_none() -> None:
    assert [n for n, _ in trained().named_parameters() if "suffix" in n] == ["suffix"]
    assert not [n for n, _ in trained(suffix=False).named_parameters() if "suffix" in n]
