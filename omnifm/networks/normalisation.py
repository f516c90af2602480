"""Normalisation layers as a setting: which one, and whether a client keeps its own."""

from __future__ import annotations

from typing import Literal

from torch import nn

Normalisation = Literal["group", "batch", "batch-personal"]
GROUPS = 8


def normalisation(kind: Normalisation, channels: int) -> nn.Module:
    """Return the layer for two-dimensional features of ``channels`` (``batch-personal`` is batch, kept at home)."""
    return nn.GroupNorm(GROUPS, channels) if kind == "group" else nn.BatchNorm2d(channels)


def is_normalisation(module: nn.Module) -> bool:
    """Tell whether a module is a normalisation layer of a backbone: group, batch or instance."""
    return isinstance(module, nn.GroupNorm | nn.modules.batchnorm._NormBase)
