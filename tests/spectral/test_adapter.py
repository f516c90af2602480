from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import random_units

from omnifm.spectral.adapter import AdapterOutput, AdapterSettings, SpectralAdapter

DIM, TOKEN_DIM, K = 8, 6, 3


def adapter(trained: bool = True, axes: int = 2, **changes: Any) -> SpectralAdapter:
    """Return an adapter, the same for the same switches; ``trained`` moves all weights from their start."""
    settings = AdapterSettings(grid=5, token_dim=TOKEN_DIM, neighbours=K, prefix_tokens=2, heads=2, keys="learned")
    torch.manual_seed(0)
    made = SpectralAdapter(AdapterSettings(**{**vars(settings), **changes}), 1, axes, DIM)
    for place, (_, parameter) in enumerate(sorted(made.named_parameters())):
        if trained:
            numbers = torch.Generator().manual_seed(place)
            parameter.data = 0.5 * torch.randn(parameter.shape, generator=numbers)
    return made


def given(axes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(7)
    return torch.randn(4, 9, DIM, generator=numbers), torch.rand(4, 1, *[12] * axes, generator=numbers)


BANK = random_units(10, TOKEN_DIM, 3)


def output(made: SpectralAdapter, bank: torch.Tensor | None = BANK) -> AdapterOutput:
    made.use_bank(bank)
    return made(*given())


@pytest.mark.parametrize("axes", [2, 3])
def test_tokens_in_tokens_out(axes: int) -> None:
    made = adapter(axes=axes)
    made.use_bank(BANK)
    tokens, image = given(axes)
    out = made(tokens, image)
    assert out.tokens.shape == tokens.shape
    assert out.keys.shape == (4, TOKEN_DIM)
    assert out.alignment.shape == ()
    assert out.retrieved.shape == (4, K)


def test_untrained_adapter_changes_nothing() -> None:
    tokens, _ = given()
    torch.testing.assert_close(output(adapter(trained=False)).tokens, tokens)


def test_retrieves_the_nearest_entries_of_the_bank() -> None:
    out = output(adapter())
    similarity = out.keys.detach().numpy() @ BANK.numpy().T
    assert out.retrieved.tolist() == np.argsort(-similarity, axis=1)[:, :K].tolist()


def test_alignment_is_lambda_times_the_distance_from_the_centroid() -> None:
    out = output(adapter(alignment=0.3))
    centroid = BANK[out.retrieved].mean(dim=1)
    expected = 0.3 * ((out.keys - centroid) ** 2).sum() / 4
    torch.testing.assert_close(out.alignment, expected)


def test_alignment_trains_the_tokenizer_alone() -> None:
    made = adapter()
    output(made).alignment.backward()
    reached = {name.split(".")[0] for name, p in made.named_parameters() if p.grad is not None}
    assert reached == {"tokenizer"}


def test_fixed_keys_are_the_same_whatever_is_drawn_or_learned() -> None:
    torch.manual_seed(5)
    one = SpectralAdapter(AdapterSettings(), 1, 2, DIM)
    torch.manual_seed(6)
    other = SpectralAdapter(AdapterSettings(keys="fixed"), 1, 2, DIM)
    _, image = given()
    keys = one.keys_of(image)
    torch.testing.assert_close(one.tokenizer(one.spectrum(image)), keys)  # at first
    with torch.no_grad():
        for parameter in one.tokenizer.parameters():
            parameter.add_(0.1)
    assert torch.equal(one.keys_of(image), keys)
    assert torch.equal(other.keys_of(image), keys)
    assert one.keys is not None
    assert not any(parameter.requires_grad for parameter in one.keys.parameters())


def test_with_fixed_keys_the_learned_token_is_aligned_with_what_was_retrieved() -> None:
    made = adapter(keys="fixed", alignment=0.3)
    out = output(made)
    _, image = given()
    similarity = made.keys_of(image).detach().numpy() @ BANK.numpy().T
    assert out.retrieved.tolist() == np.argsort(-similarity, axis=1)[:, :K].tolist()
    token = made.tokenizer(made.spectrum(image))
    assert not torch.allclose(token, out.keys, atol=1e-2)
    expected = 0.3 * ((token - BANK[out.retrieved].mean(dim=1)) ** 2).sum() / 4
    torch.testing.assert_close(out.alignment, expected)
    out.alignment.backward()
    reached = {name.split(".")[0] for name, p in made.named_parameters() if p.grad is not None}
    assert reached == {"tokenizer"}


def test_alignment_off_changes_the_loss_only() -> None:
    on, off = output(adapter()), output(adapter(alignment=0.0))
    assert on.alignment > 0
    assert off.alignment == 0
    assert torch.equal(on.tokens, off.tokens)


@pytest.mark.parametrize("bank", [None, torch.zeros(0, TOKEN_DIM), torch.zeros(0, 0)])
def test_empty_bank_gives_no_alignment_and_the_own_token(bank: torch.Tensor | None) -> None:
    made = adapter()
    out = output(made, bank)
    assert out.alignment == 0
    assert out.retrieved.shape == (4, 0)
    tokens, _ = given()
    assert made.fusion is not None
    own = made.prompting(tokens, made.fusion(tokens, out.keys[:, None]))
    assert torch.equal(out.tokens, own)


def test_the_bank_changes_the_tokens() -> None:
    made = adapter()
    assert not torch.allclose(output(made).tokens, output(made, -BANK).tokens, atol=1e-4)


def test_retrieval_off_is_the_own_token_whatever_the_bank() -> None:
    off, empty = output(adapter(retrieval=False)), output(adapter(), None)
    assert torch.equal(off.tokens, empty.tokens)
    assert off.retrieved.shape == (4, 0)
    assert off.alignment == 0


@pytest.mark.parametrize("own_token", [True, False])
@pytest.mark.parametrize("fusion", [True, False])
def test_prefix_is_fused_from_what_was_retrieved(own_token: bool, fusion: bool) -> None:
    made = adapter(own_token=own_token, fusion=fusion)
    out = output(made)
    tokens, _ = given()
    own = [out.keys[:, None]] if own_token else []
    asked = torch.cat([*own, BANK[out.retrieved]], dim=1)
    assert made.fusion is not None
    mean = made.fusion.value(asked.mean(dim=1, keepdim=True)).expand(-1, 2, -1)
    prefix = made.fusion(tokens, asked) if fusion else mean
    torch.testing.assert_close(out.tokens, made.prompting(tokens, prefix))


def test_prefix_off_leaves_only_the_suffix() -> None:
    made = adapter(prefix=False)
    tokens, _ = given()
    assert torch.equal(output(made).tokens, made.prompting(tokens, None))
    assert not [name for name, _ in made.named_parameters() if name.startswith("fusion")]


def test_suffix_off_leaves_no_such_parameter() -> None:
    on, off = adapter(), adapter(suffix=False)
    assert set(on.state_dict()) - set(off.state_dict()) == {"prompting.suffix"}
    assert not torch.allclose(output(on).tokens, output(off).tokens, atol=1e-4)


def test_the_bank_is_no_weight() -> None:
    made = adapter()
    out = output(made)
    (out.tokens.sum() + out.alignment).backward()
    assert made.bank.grad is None
    assert not made.bank.requires_grad
    assert "bank" not in {**made.state_dict(), **dict(made.named_parameters())}


def test_gradients_reach_every_parameter() -> None:
    made = adapter()
    out = output(made)
    (out.tokens.square().sum() + out.alignment).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name


def test_what_the_bank_is_asked_with_is_float32_at_any_precision() -> None:
    made = adapter()
    exact = output(made)
    with torch.autocast("cpu", torch.bfloat16):
        rough = output(made)
    assert torch.equal(rough.keys, exact.keys)
    assert torch.equal(rough.retrieved, exact.retrieved)
    assert rough.alignment == exact.alignment
    torch.testing.assert_close(rough.tokens.float(), exact.tokens, rtol=0.1, atol=0.1)
    assert not torch.equal(rough.tokens.float(), exact.tokens)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rho": 0.0}, "rho"),
        ({"rho": 1.1}, "rho"),
        ({"grid": 4}, "grid"),
        ({"grid": 1}, "grid"),
        ({"neighbours": 0}, "neighbours"),
        ({"alignment": -0.1}, "alignment"),
    ],
    ids=str,
)
def test_settings_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdapterSettings(**wrong)
