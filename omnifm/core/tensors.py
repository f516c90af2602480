"""Tensors by name: what weights, states and messages are made of."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Tensors = dict[str, Tensor]


def add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Return the tensors under ``prefix/name``, so that several sets fit into one memory."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Undo :func:`add_prefix`: the tensors of this prefix, without it."""
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
