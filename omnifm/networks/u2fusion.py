"""A dense network that fuses two images into one, in the form of U2Fusion (Xu et al., IEEE TPAMI 44, 2022).

It differs from the paper's in three things, so that an adapter can be in its middle and a CPU can train it:
the dense block works at half the resolution (a quarter of the tokens), what is fine passes beside it at full
resolution, and the decoder predicts the share of each source at each place, and what to add to their mixture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 2


class Skips(NamedTuple):
    """What passes the adapter by.

    ``fine`` are features at full resolution, ``coarse`` those that became tokens, as strong as they were, both
    ``(batch, channels, height, width)``; ``sources`` ``(batch, 2, height, width)`` are the images themselves.
    """

    fine: Tensor
    coarse: Tensor
    sources: Tensor


class DenseEncoder(nn.Module):
    """Two sources ``(batch, 2, height, width)`` into features at half the resolution, rounded up.

    Each of the ``layers`` of the dense block sees what all before it made; a last convolution makes ``width`` channels
    of it.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        growth = width // 2
        self.width = width
        self.fine = nn.Conv2d(2, growth, 3, 1, 1)
        self.down = nn.Conv2d(growth, width, 3, STRIDE, 1)
        self.dense = nn.ModuleList(nn.Conv2d(width + n * growth, growth, 3, 1, 1) for n in range(layers))
        self.out = nn.Conv2d(width + layers * growth, width, 1)

    def forward(self, sources: Tensor) -> Skips:
        """Return the features of both resolutions."""
        fine = F.leaky_relu(self.fine(sources), 0.2)
        made = F.leaky_relu(self.down(fine), 0.2)
        for layer in self.dense:
            made = torch.cat([made, F.leaky_relu(layer(made), 0.2)], dim=1)
        return Skips(fine, self.out(made), sources)


class ReconstructionDecoder(nn.Module):
    """Features, conditioned, and the skips into the fused image ``(batch, 1, height, width)`` in [0, 1].

    The last layer starts at zero: an untrained network returns the mean of the sources.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        fine = width // 2
        self.coarse = nn.Conv2d(2 * width, width, 3, 1, 1)
        self.up = nn.Conv2d(width, fine * STRIDE**2, 1)
        self.mix = nn.Conv2d(2 * fine + 2, fine, 3, 1, 1)
        self.refine = nn.Conv2d(fine, fine, 3, 1, 1)
        self.out = nn.Conv2d(fine, 2, 1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, skips: Skips) -> Tensor:
        """Fuse; ``features`` are of the shape of ``skips.coarse``."""
        height, width = skips.sources.shape[-2:]
        made = F.leaky_relu(self.coarse(torch.cat([features, skips.coarse], dim=1)), 0.2)
        made = F.pixel_shuffle(self.up(made), STRIDE)[..., :height, :width]
        made = F.leaky_relu(self.mix(torch.cat([made, skips.fine, skips.sources], dim=1)), 0.2)
        made = F.leaky_relu(self.refine(made), 0.2)
        leaning, added = self.out(made).chunk(2, dim=1)
        first, second = skips.sources.chunk(2, dim=1)
        return torch.lerp(first, second, leaning.sigmoid()).add(added).clamp(0, 1)
