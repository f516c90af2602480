"""What a client sent is not believed: names, shapes, types and numbers are looked at before they are counted."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Compare tensors with those that are expected, in all but their values; an expected length of 0 allows any.

    Raises:
        ValueError: one is missing, one too many, of another shape or type, or holds a number that is not finite.
    """
    for name in sorted(found.keys() ^ expected.keys()):
        raise ValueError(f"{what} {name!r} is {'missing' if name in expected else 'not expected'}")
    for name, value in found.items():
        like = expected[name]
        fits = value.dim() == like.dim() and all(
            want in (0, have) for have, want in zip(value.shape, like.shape, strict=True)
        )
        if value.dtype != like.dtype or not fits:
            raise ValueError(
                f"{what} {name!r} is {value.dtype} {tuple(value.shape)} in place of {like.dtype} {tuple(like.shape)}"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{what} {name!r} holds numbers that are not finite")
