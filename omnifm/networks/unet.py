"""A U-Net in two halves, of MONAI's blocks, for images and volumes.

The blocks are those of nnU-Net (Isensee et al., Nature Methods 18, 2021): two convolutions each, of which the first
halves the picture; transposed convolutions double it again, and what the encoder saw at that size is laid beside it
(Ronneberger et al., 2015). Nothing is pooled or interpolated: on a GPU the gradients of these in three dimensions are
not the same bits each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from omnifm.networks.normalisation import Normalisation, norm_of_monai


class UNetEncoder(nn.Module):
    """``(batch, channels, *size)`` to ``(batch, width * 2^depth, *size / 2^depth)``, and what was seen on the way.

    Args:
        axes: 2 for images, 3 for volumes.
        channels: of the image.
        width: channels at full size, a multiple of 8; they double with each halving.
        depth: how often the picture is halved.
        norm: the normalisation after each convolution.
    """

    def __init__(self, axes: int, channels: int, *, width: int, depth: int, norm: Normalisation) -> None:
        super().__init__()
        from monai.networks.blocks.dynunet_block import UnetBasicBlock  # takes seconds to import

        widths = [width * 2**level for level in range(depth + 1)]
        self.width = widths[-1]
        self.stages = nn.ModuleList(
            UnetBasicBlock(axes, before, after, 3, 2 if level else 1, norm_of_monai(norm))
            for level, (before, after) in enumerate(zip([channels, *widths], widths, strict=False))
        )

    def forward(self, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the bottleneck, and the skips from full size down to twice the bottleneck's."""
        maps = [image]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[-1], tuple(maps[1:-1])


class UNetDecoder(nn.Module):
    """The way back: ``(batch, width * 2^depth, *size / 2^depth)`` and the skips to ``(batch, outputs, *size)``."""

    def __init__(self, axes: int, outputs: int, *, width: int, depth: int, norm: Normalisation) -> None:
        super().__init__()
        from monai.networks.blocks.dynunet_block import UnetOutBlock, UnetUpBlock

        widths = [width * 2**level for level in reversed(range(depth + 1))]
        self.stages = nn.ModuleList(
            UnetUpBlock(axes, before, after, 3, 1, 2, norm_of_monai(norm)) for before, after in pairwise(widths)
        )
        self.last = UnetOutBlock(axes, width, outputs)

    def forward(self, bottleneck: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Return what the last convolution makes of the map at full size."""
        x = bottleneck
        for stage, skip in zip(self.stages, reversed(skips), strict=True):
            x = stage(x, skip)
        return cast(Tensor, self.last(x))
