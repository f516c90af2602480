"""Weights that a malicious server chooses so that the change of one layer holds images of patients.

After Fowl et al., Robbing the Fed (ICLR 2022), for the compact classification network as clients build it: only values
of its weights are chosen. The first layers pass the pixels on, the 64 of each 8 x 8 square of the image as channels of
one position. Each channel of the last convolution measures the same number of an image in the same window of 3 x 3
positions, and is active only for images above a threshold of its own. So the gradients of two channels with
neighbouring thresholds differ by the windows of the images between them: if that is one image, by its pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from inverting.likeness import correlation
from torch import Tensor, nn

from omnifm.core.tensors import Tensors
from omnifm.networks.compact import CompactEncoder, ResidualBlock
from omnifm.networks.normalisation import GROUPS
from omnifm.training.model import FederatedModel

LEAST_WIDTH, LARGEST_SIZE = 24, 32
"""Of a network whose last layers have channels for 64 pixels and the flags; of an image that is 4 x 4 squares."""
_LIFT, _SPREAD, _FAR = 4.0, 3.0, 50.0
"""Where pixels lie so that no ReLU cuts them, in their standard deviations; how far the measured numbers spread; how
far below them those of all other windows are."""
_FLAGS, _ONES = 6, 7
"""The groups of channels that tell positions at a border, and that are 1 everywhere."""
_BORDERS = ((0, 1), (1, 0), (2, 1), (1, 2))
"""The tap of a 3 x 3 kernel that leaves the image at the upper, left, lower and right border."""
_WINDOWS = (0, 1)
"""The windows of 3 x 3 of the 4 x 4 positions, by the row and column that they begin in."""
_SAME, _FILLED = 0.9, 0.02
"""From which correlation on two windows are taken to be of one image; from which share of the largest on, a difference
of two channels is taken to be that of images."""
_LAST = "network.backbone.5.conv2.weight"


class Imprint(NamedTuple):
    """What the server sends, and what it needs to read pictures from what comes back.

    A pixel is ``scale`` times what the last layer sees of it and ``offset``, ``(64, 4, 4)`` both. ``one`` is a channel
    of that layer that is 1 everywhere, and ``mean`` the mean image.
    """

    weights: Tensors
    scale: Tensor
    offset: Tensor
    one: int
    mean: Tensor

    def pictures(self, change: Tensors) -> Tensor:
        """Return a picture for each pair of neighbouring thresholds that images lie between, ``(n, 1, h, w)``.

        Windows of one image are put together by the part that both show. What none shows is taken from the mean image,
        which is also the only picture where there are no images between thresholds.
        """
        upper, lower = (self._patches(change, window) for window in range(len(_WINDOWS)))
        match = correlation(upper[..., 1:, 1:], lower[..., :-1, :-1])
        made = _squares(self.mean[None]).repeat(len(upper) + len(lower), 1, 1, 1)
        made[len(upper) :, :, 1:, 1:] = lower
        if match.numel():
            best, pairs = match.max(dim=1), match.amax(dim=1) > _SAME
            made[: len(upper)][pairs, :, 1:, 1:] = lower[best.indices[pairs]]
        made[: len(upper), :, :-1, :-1] = upper
        if not len(made):
            return self.mean[None]
        height, width = self.mean.shape[-2:]
        return F.pixel_shuffle(made, 8)[..., :height, :width].clamp(0, 1)

    def _patches(self, change: Tensors, window: int) -> Tensor:
        """Return what one of the windows shows between each two thresholds: ``(n, 64, 3, 3)``."""
        rows = change[_LAST].double().unflatten(0, (len(_WINDOWS), -1, len(change[_LAST]) // GROUPS))[window]
        between = rows.diff(dim=1).flatten(0, 1)
        share = between[:, self.one, 1, 1]
        filled = share.abs() > _FILLED * share.abs().max()
        seen = (..., *2 * (slice(_WINDOWS[window], _WINDOWS[window] + 3),))
        patches = between[filled, :64] / share[filled, None, None, None]
        return (patches * self.scale[seen] + self.offset[seen]).float()


def imprint(model: FederatedModel, images: Tensor, strength: float = 0.01) -> Imprint:
    """Choose the weights of a model.

    Args:
        model: changed in place; its backbone is compact, ``LEAST_WIDTH`` wide or more, with group normalisation.
        images: the attacker's own, ``(n, 1, h, w)``, 25 to ``LARGEST_SIZE`` pixels a side.
        strength: how much an image changes the weights.
    """
    backbone, head = model.network.backbone, model.network.head
    assert isinstance(backbone, CompactEncoder)
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        layers: list[Any] = list(backbone)
        conv, norm, relu, block, middle, last = layers
        _stem(conv, norm)
        halves = block(relu(norm(conv(images))))  # all weights of this block are 0: it passes its input on
        _middle(middle, halves[:1])
        seen = _last(last, middle(halves))
        signs = torch.ones(len(head.weight))
        signs[1::2] = -1
        head.weight.copy_(strength * signs[:, None].expand_as(head.weight))
        scale, offset = _lines(seen[:, :64].double(), _squares(images).double())
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return Imprint(weights, scale, offset, _ONES * last.norm1.num_channels // GROUPS, images.mean(dim=0))


def _stem(conv: nn.Conv2d, norm: nn.GroupNorm) -> None:
    """Give each of the 4 pixels of a square of 2 x 2 a group of channels: all of a group alike, so that it stays so."""
    size = conv.out_channels // GROUPS
    for channel in range(4 * size):
        row, column = divmod(channel // size, 2)
        conv.weight[channel, 0, 1 + row, 1 + column] = 1
    _keep(norm, 4 * size)


def _middle(block: ResidualBlock, one: Tensor) -> None:
    """Pass on the 16 pixels of a square of 4 x 4, four in each of four groups, and find the borders."""
    before, size = block.conv1.in_channels // GROUPS, block.conv1.out_channels // GROUPS
    for channel in range(4 * size):
        row, column = channel // size, channel % size % 4
        block.conv1.weight[channel, (row % 2 * 2 + column % 2) * before, 1 + row // 2, 1 + column // 2] = 1
        block.conv2.weight[channel, channel, 1, 1] = 1
    for number, (down, right) in enumerate(_BORDERS):
        block.conv2.weight[_FLAGS * size + number, _ONES * size, down, right] = 1
    _keep(block.norm1, 4 * size)
    _keep(block.norm2, 4 * size)
    _as_flags(block.norm2, block.conv2(F.relu(block.norm1(block.conv1(one)))), at_lowest=1.0)


def _last(block: ResidualBlock, inputs: Tensor) -> Tensor:
    """Pass on the 64 pixels of a square of 8 x 8, measure each window, and set the thresholds.

    Returns what the last convolution sees.
    """
    before, size = block.conv1.in_channels // GROUPS, block.conv1.out_channels // GROUPS
    for channel in range(6 * size):
        row, column = divmod(channel % 64, 8)
        source = row % 4 * before + column % 4
        block.conv1.weight[channel, source, 1 + row // 4, 1 + column // 4] = 1
    for number, (down, right) in enumerate(_BORDERS):
        block.conv1.weight[_FLAGS * size + number, _FLAGS * before + number, down, right] = 1
        block.conv1.weight[_FLAGS * size + number, _FLAGS * before + number, 1, 1] = 1
    _keep(block.norm1, 6 * size)
    _as_flags(block.norm1, block.conv1(inputs[:1]), at_lowest=0.0)
    seen = F.relu(block.norm1(block.conv1(inputs)))
    shared = seen[:, :64, 1:3, 1:3].flatten(1)  # what both windows see
    direction = torch.linalg.svd(shared - shared.mean(dim=0), full_matrices=False)[2][0]
    direction *= _SPREAD / (shared @ direction).std()
    block.norm2.weight.fill_(1.0)
    for window, first in enumerate(_WINDOWS):
        rows = slice(4 * window * size, 4 * (window + 1) * size)
        block.conv2.weight[rows, :64, 1 - first : 3 - first, 1 - first : 3 - first] = direction.view(64, 2, 2)
        for number in (2 * window, 2 * window + 1):
            down, right = _BORDERS[number]
            block.conv2.weight[rows, _FLAGS * size + number, down, right] = _FAR
        block.conv2.weight[rows, _ONES * size + 1, 1, 1] = -2 * _FAR
        measured = block.norm2(block.conv2(seen))[:, rows.start, first + 1, first + 1]
        parts = torch.arange(4)[:, None] + torch.linspace(0, 1, size)  # neighbouring groups share a threshold
        block.norm2.bias[rows] = -measured.quantile(parts.flatten() / 4)
    return seen


def _keep(norm: nn.Module, pixels: int) -> None:
    """Lift the channels of pixels above zero; those of the last group become 1 everywhere."""
    assert isinstance(norm, nn.GroupNorm)
    norm.weight[:pixels], norm.bias[:pixels] = 1.0, _LIFT
    norm.bias[-norm.num_channels // GROUPS :] = 1.0


def _as_flags(norm: nn.Module, inputs: Tensor, at_lowest: float) -> None:
    """Set scales and offsets so that a flag has one of its two values where it is lowest, else the other of 0 and 1."""
    assert isinstance(norm, nn.GroupNorm)
    flags = slice(_FLAGS * norm.num_channels // GROUPS, _FLAGS * norm.num_channels // GROUPS + len(_BORDERS))
    norm.weight[flags] = 1.0
    low, high = (end(norm(inputs)[0, flags].flatten(1), dim=1) for end in (torch.amin, torch.amax))
    slope = (1 - 2 * at_lowest) / (high - low)
    norm.weight[flags], norm.bias[flags] = slope, at_lowest - slope * low


def _squares(images: Tensor) -> Tensor:
    """Return the pixels of each square of 8 x 8 as channels, ``(n, 64, 4, 4)``."""
    height, width = images.shape[-2:]
    return F.pixel_unshuffle(F.pad(images, (0, LARGEST_SIZE - width, 0, LARGEST_SIZE - height)), 8)


def _lines(inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return slopes and offsets by which each of ``(n, ...)`` outputs is best told from the input in its place."""
    centred = inputs - inputs.mean(dim=0)
    slope = (centred * outputs).sum(dim=0) / centred.square().sum(dim=0).clamp(min=1e-9)
    return slope, outputs.mean(dim=0) - slope * inputs.mean(dim=0)
