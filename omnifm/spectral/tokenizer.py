"""FreqMix: from a spectrum to one spectral token of norm 1 (GSKR, part 2; OmniFM, Sec. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_SEED = 0  # of every fixed tokenizer, whatever the run's


def fixed_tokenizer(channels: int, bins: int, dim: int) -> FreqMixTokenizer:
    """Return a tokenizer that no gradient acts on, a random projection; whenever it is made, it is the same one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return FreqMixTokenizer(channels, bins, dim).requires_grad_(False)


class FreqMixTokenizer(nn.Module):
    """Mix frequency bins, then channels; pool with learned weights and normalise.

    Both mixings are residual. The pooling has a weight for each bin, channel and component of the token; initially
    it is a random projection, which preserves the angles between spectra. The spectrum of a real image is the same at
    ``f`` and ``-f``, so only half of the bins are read.
    """

    def __init__(self, channels: int, bins: int, dim: int, hidden: int = 64) -> None:
        super().__init__()
        self.bins = bins // 2 + 1
        self.norm = nn.LayerNorm(self.bins)
        self.mix_bins = nn.Sequential(nn.Linear(self.bins, hidden), nn.GELU(), nn.Linear(hidden, self.bins))
        self.mix_channels = nn.Linear(channels, channels)
        self.pool = nn.Linear(channels * self.bins, dim, bias=False)

    def forward(self, spectrum: Float[Tensor, "batch channels *grid"]) -> Float[Tensor, "batch dim"]:
        """Map ``(batch, channels, *grid)`` to tokens ``(batch, dim)`` of Euclidean norm 1."""
        x = self.norm(spectrum.flatten(2)[..., : self.bins])
        x = x + self.mix_bins(x)
        x = x + self.mix_channels.weight @ x + self.mix_channels.bias[:, None]
        return F.normalize(self.pool(x.flatten(1)), dim=-1)
