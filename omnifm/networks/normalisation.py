"""Normalisation layers as a setting: which one, and whether a client keeps its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from omnifm.utils.errors import ExperimentError

Normalisation = Literal["group", "batch", "batch-personal"]
GROUPS = 8


def normalisation(kind: Normalisation, channels: int) -> nn.Module:
    """Return the layer for two-dimensional features of ``channels`` (``batch-personal`` is batch, personal)."""
    return nn.GroupNorm(GROUPS, channels) if kind == "group" else nn.BatchNorm2d(channels)


def norm_of_monai(kind: Normalisation) -> tuple[str, dict[str, int]]:
    """Return the same layer as MONAI's blocks are asked for it, be they for images or for volumes."""
    return ("group", {"num_groups": GROUPS}) if kind == "group" else ("batch", {})


def is_normalisation(module: nn.Module) -> bool:
    """Return whether a module is a normalisation layer of a backbone."""
    return isinstance(module, nn.GroupNorm | _BatchNorm)


def layers_with_statistics(model: nn.Module) -> list[_BatchNorm]:
    """Return a model's layers of batch normalisation: those that keep running statistics."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def measured_statistics(model: nn.Module) -> Iterator[None]:
    """Replace the running statistics of batch normalisation by plain means over the batches passed in this block.

    A running mean trails behind weights that move fast, as they do between two averagings; what is measured with the
    weights as they stand does not (Wu and Johnson, Rethinking Batch in BatchNorm, 2021).
    """
    layers = layers_with_statistics(model)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch's word for a cumulative mean
    model.train()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


@contextmanager
def can_normalise(who: str) -> Iterator[None]:
    """Say what to do where batch normalisation is asked for the spread of a single value in each channel.

    Raises:
        ExperimentError: in place of torch's ValueError; says ``who`` has a single image.
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ExperimentError(
            f"{who} has a single image, or one a batch, and the network's features are 1 x 1, where batch "
            "normalisation has nothing to measure. Bring more images, or use norm = 'group', a larger batch_size or "
            "a larger data.size."
        ) from None
