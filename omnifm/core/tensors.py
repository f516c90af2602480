"""Tensors by name: what weights, states and messages are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
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


def total_norm(tensors: Mapping[str, Tensor]) -> float:
    """Return the L2 norm of all floating-point tensors; infinite if it does not fit into float32."""
    norm = torch.linalg.vector_norm
    norms = [norm(value) for value in tensors.values() if value.is_floating_point()]
    return float(norm(torch.stack(norms))) if norms else 0.0


def digest(tensors: Mapping[str, Tensor], plain: str = "") -> str:
    """Return the SHA-256 of tensors, with their names, types and shapes, and of a text."""
    total = hashlib.sha256(plain.encode())
    for name in sorted(tensors):
        value = tensors[name]
        total.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        total.update(raw(value))
    return total.hexdigest()


def raw(value: Tensor) -> memoryview:
    """Return the bytes of a tensor in a row, to be hashed; copied only if they lie apart or on another device."""
    if value.dtype == torch.bfloat16:  # NumPy does not have it
        value = value.contiguous().view(torch.int16)
    return value.numpy(force=True).reshape(-1).view(np.uint8).data
