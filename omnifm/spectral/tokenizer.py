"""FreqMix: from a spectrum to one spectral token of norm 1 (GSKR, part 2; OmniFM, Sec. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FreqMixTokenizer(nn.Module):
    """Mix frequency bins, then channels; project, pool over the bins and normalise.

    The mixing of bins is a residual two-layer perceptron along the frequency axis, the same for every channel; that
    of channels is a linear layer with a learned position for each bin, so that pooling does not forget where
    energy lay. The spectrum of a real image is the same at ``f`` and ``-f``: only one half of the bins is read.
    """

    def __init__(self, channels: int, bins: int, dim: int, hidden: int = 64) -> None:
        super().__init__()
        self.bins = bins = bins // 2 + 1
        self.norm = nn.LayerNorm(bins)
        self.mix_bins = nn.Sequential(nn.Linear(bins, hidden), nn.GELU(), nn.Linear(hidden, bins))
        self.mix_channels = nn.Linear(channels, dim)
        self.position = nn.Parameter(torch.randn(bins, dim) * dim**-0.5)
        self.project = nn.Linear(dim, dim)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Map ``(batch, channels, *grid)`` to tokens ``(batch, dim)`` of Euclidean norm 1."""
        bins = self.norm(spectrum.flatten(2)[..., : self.bins])
        bins = bins + self.mix_bins(bins)
        energy = F.gelu(self.mix_channels(bins.transpose(1, 2)) + self.position)
        return F.normalize(self.project(energy.mean(dim=1)), dim=-1)
