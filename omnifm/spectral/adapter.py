"""The adapter: all of the paper's additions in order, for any task and backbone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from omnifm.spectral.alignment import spectral_proximal_loss
from omnifm.spectral.bank import retrieve
from omnifm.spectral.fusion import PrototypeFusion
from omnifm.spectral.prompting import PrefixSuffixPrompting
from omnifm.spectral.spectrum import low_pass_log_amplitude
from omnifm.spectral.tokenizer import FreqMixTokenizer, fixed_tokenizer
from omnifm.utils.errors import ExperimentError
from omnifm.utils.settings import Count, NotNegative, settings


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"must be odd, not {number}")
    return number


@settings
class AdapterSettings:
    """The adapter's shape, and a switch for each of its parts (for ablation): ``[adapter]`` of an experiment.

    Attributes:
        use: whether networks get an adapter; ``auto`` leaves it to the algorithm.
        rho: the share of each axis of the spectrum that the low-pass keeps.
        grid: the side of the grid that the spectrum is resampled to; odd, so that it has a middle.
        token_dim: the length of a spectral token.
        keys: what an image is retrieved by, and what prototypes are made of: ``learned``, its spectral token, as in the
            paper; ``fixed``, that of a tokenizer which is never trained, so that the keys of all clients, rounds and
            runs can be compared; ``auto`` is learned where all but the suffix is averaged over all clients, as with
            ``omnifm.variant = "paper"``, and fixed otherwise.
        neighbours: how many prototypes an image retrieves from the bank.
        prefix_tokens: how many tokens the prefix has.
        heads: the heads of each attention.
        retrieval: off replaces the retrieved prototypes by the image's own token.
        own_token: adds the image's own token to the retrieved prototypes. The task's loss reaches the tokenizer through
            it alone: the bank's entries are constants, and retrieval has no gradient.
        fusion: off replaces attention to the prototypes by their mean.
        prefix: off leaves out the tokens that come from the bank.
        suffix: off leaves out the client's own token.
        alignment: the weight lambda of the spectral-proximal loss; 0 for none.
    """

    use: Literal["auto", "on", "off"] = "auto"
    rho: Annotated[float, Field(gt=0, le=1)] = 0.25
    grid: Annotated[int, Field(ge=3), AfterValidator(_odd)] = 15
    token_dim: Count = 64
    keys: Literal["auto", "fixed", "learned"] = "auto"
    neighbours: Count = 8
    prefix_tokens: Count = 4
    heads: Count = 4
    retrieval: bool = True
    own_token: bool = True
    fusion: bool = True
    prefix: bool = True
    suffix: bool = True
    alignment: NotNegative = 0.1


class AdapterOutput(NamedTuple):
    """The adapter's output.

    ``tokens`` ``(batch, L, dim)`` go to the decoder; ``keys`` ``(batch, token_dim)`` are what the images were retrieved
    by; ``alignment`` is the weighted spectral-proximal loss, a scalar; ``retrieved`` ``(batch, k)`` are bank rows.
    """

    tokens: Float[Tensor, "batch length dim"]
    keys: Float[Tensor, "batch token_dim"]
    alignment: Float[Tensor, ""]
    retrieved: Int[Tensor, "batch k"]


class SpectralAdapter(nn.Module):
    """Sits between a network's ``encode`` and its ``decode``: tokens in, tokens of the same shape out.

    ``spectrum`` turns images into low-pass log-amplitude spectra; an exported copy has one in real arithmetic.

    Args:
        settings: shape and switches; keys that are not ``learned`` are fixed.
        channels: channels of the image whose spectrum is read.
        axes: its spatial axes, 2 or 3.
        dim: width of the tokens.
        normalised: whether the tokens that it gives out are normalised.

    Raises:
        ExperimentError: ``heads`` does not divide ``dim``.
    """

    bank: Tensor

    def __init__(self, settings: AdapterSettings, channels: int, axes: int, dim: int, normalised: bool = False) -> None:
        if dim % settings.heads:
            raise ExperimentError(
                f"adapter.heads = {settings.heads} does not divide the width of the network's tokens, {dim}: choose a "
                "number that does."
            )
        super().__init__()
        self.settings = settings
        self.spectrum: Callable[[Tensor], Tensor] = partial(
            low_pass_log_amplitude, rho=settings.rho, grid=settings.grid
        )
        form = channels, settings.grid**axes, settings.token_dim
        self.tokenizer = FreqMixTokenizer(*form)
        self.keys = None if settings.keys == "learned" else fixed_tokenizer(*form)
        if self.keys is not None:
            self.tokenizer.load_state_dict(self.keys.state_dict())  # so that tokens are near to prototypes at first
        self.fusion = (
            PrototypeFusion(dim, settings.token_dim, settings.prefix_tokens, settings.heads, settings.fusion)
            if settings.prefix
            else None
        )
        self.prompting = PrefixSuffixPrompting(dim, settings.heads, settings.suffix, normalised=normalised)
        self.register_buffer("bank", torch.zeros(0, settings.token_dim), persistent=False)

    def use_bank(self, entries: Float[Tensor, "n token_dim"] | None) -> None:
        """Retrieve from ``entries`` ``(n, token_dim)`` from now on; without any, use each image's own token instead."""
        empty = self.bank.new_zeros(0, self.settings.token_dim)
        self.bank = empty if entries is None or not len(entries) else entries.to(self.bank)

    def forward(
        self, tokens: Float[Tensor, "batch length dim"], image: Float[Tensor, "batch channels *size"]
    ) -> AdapterOutput:
        """Condition tokens ``(batch, L, dim)`` of ``image`` ``(batch, channels, *size)`` on the bank."""
        with torch.autocast(image.device.type, enabled=False):
            keys, context, alignment, retrieved = self._retrieve(image)
        prefix = None if self.fusion is None else self.fusion(tokens, context)
        return AdapterOutput(self.prompting(tokens, prefix), keys, alignment, retrieved)

    def keys_of(self, image: Float[Tensor, "batch channels *size"]) -> Float[Tensor, "batch token_dim"]:
        """Return what images ``(batch, channels, *size)`` are retrieved by: ``(batch, token_dim)``, of norm 1."""
        keys: Tensor = (self.tokenizer if self.keys is None else self.keys)(self.spectrum(image))
        return keys

    def _retrieve(
        self, image: Float[Tensor, "batch channels *size"]
    ) -> tuple[
        Float[Tensor, "batch token_dim"],
        Float[Tensor, "batch context token_dim"],
        Float[Tensor, ""],
        Int[Tensor, "batch k"],
    ]:
        """Return the keys, the tokens to fuse, the alignment loss and the retrieved bank rows.

        Always in float32: the entries of the bank must be comparable between clients.
        """
        settings = self.settings
        spectrum = self.spectrum(image)
        token = self.tokenizer(spectrum)
        keys, own = token if self.keys is None else self.keys(spectrum), token.unsqueeze(1)
        if not settings.retrieval or not len(self.bank):
            nothing = torch.zeros(image.shape[0], 0, dtype=torch.int64, device=image.device)
            return keys, own, token.new_zeros(()), nothing
        prototypes, retrieved = retrieve(keys, self.bank, settings.neighbours)
        alignment = settings.alignment * spectral_proximal_loss(token, prototypes)
        context = torch.cat([own, prototypes], dim=1) if settings.own_token else prototypes
        return keys, context, alignment, retrieved
