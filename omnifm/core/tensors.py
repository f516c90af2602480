"""Tensors by name: what weights, states and messages are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


def add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Return the tensors under ``prefix/name``, so that several sets fit into one memory."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Undo :func:`add_prefix`: the tensors of this prefix, without it."""
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def difference(after: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> Tensors:
    """Return ``after - before`` by name, on the CPU; of integer tensors the value itself."""
    return {n: v.cpu() - before[n] if v.is_floating_point() else v.cpu().clone() for n, v in after.items()}


def apply(shared: Mapping[str, Tensor], change: Mapping[str, Tensor]) -> Tensors:
    """Return ``shared + change`` by name; integer tensors are replaced. Names without a change stay."""

    def moved(name: str, value: Tensor) -> Tensor:
        if name not in change:
            return value
        return value + change[name] if value.is_floating_point() else change[name]

    with torch.no_grad():
        return {name: moved(name, value) for name, value in shared.items()}


def digest(tensors: Mapping[str, Tensor], plain: str = "") -> str:
    """Return the SHA-256 of tensors, with their names, types and shapes, and of a text."""
    total = hashlib.sha256(plain.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)  # as bytes: NumPy does not have every type
    return total.hexdigest()
