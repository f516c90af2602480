"""Checks of what clients send: names, shapes, types and values, before anything is aggregated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def check_tensors(received: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Compare received tensors with expected ones, except for values; an expected length of 0 allows any length.

    Raises:
        ValueError: one is missing, not expected, of another shape or type, or holds a number that is not finite.
    """
    for name in sorted(received.keys() ^ expected.keys()):
        raise ValueError(f"{what} {name!r} is {'missing' if name in expected else 'not expected'}")
    for name, value in received.items():
        like = expected[name]
        fits = value.dim() == like.dim() and all(
            want in (0, have) for have, want in zip(value.shape, like.shape, strict=True)
        )
        if value.dtype != like.dtype or not fits:
            raise ValueError(
                f"{what} {name!r} is {value.dtype} {tuple(value.shape)} instead of {like.dtype} {tuple(like.shape)}"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{what} {name!r} holds numbers that are not finite")
