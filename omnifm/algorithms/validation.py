"""Checks of what clients send: names, shapes, types and values, before anything is aggregated."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from omnifm.core.records import Upload
from omnifm.core.tensors import total_norm

MOST_SAMPLES = 2**31 - 1
MOST_NOTES = 100_000
"""The longest notes of an upload, in characters of JSON."""


def check_plain(upload: Upload) -> None:
    """Check what an upload holds beside its tensors.

    Raises:
        ValueError: a number is impossible or none, or the notes are not like ours.
    """
    if type(upload.samples) is not int or not 0 < upload.samples <= MOST_SAMPLES:
        raise ValueError(f"{upload.samples!r:.80} is no possible number of samples")
    if upload.loss is not None and not is_number(upload.loss):
        raise ValueError(f"{upload.loss!r:.80} is no possible loss")
    notes = upload.notes
    if not isinstance(notes, dict) or len(json.dumps(notes)) > MOST_NOTES:
        raise ValueError(f"its notes are no table of at most {MOST_NOTES} characters")
    accepted = notes.get("accepted", 1.0)
    if not is_number(accepted) or not 0 <= accepted <= 1:
        raise ValueError(f"a share of {accepted!r:.80} cannot have been accepted")
    compared = notes.get("compared", 1 if "accepted" not in notes else None)
    if type(compared) is not int or compared < 1 or ("compared" in notes and "accepted" not in notes):
        raise ValueError(f"{compared!r:.80} is no possible round of what was accepted")
    spent = notes.get("epsilon", 0.0)
    if not is_number(spent) or spent < 0:
        raise ValueError(f"an epsilon of {spent!r:.80} cannot have been spent")


def is_number(value: object) -> bool:
    """Return whether a value from JSON is a number that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def check_tensors(
    received: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, norm: float | None = None
) -> None:
    """Compare received tensors with expected ones, except for values; an expected length of 0 allows any length.

    ``norm`` is that of what was received, if it is known.

    Raises:
        ValueError: one is missing, not expected, of another shape or type, or holds a number that is not finite.
    """
    for name in sorted(received.keys() ^ expected.keys()):
        raise ValueError(f"{what} {name!r} is {'missing' if name in expected else 'not expected'}")
    for name, value in received.items():
        like = expected[name]
        if value.dtype != like.dtype or not (value.shape == like.shape or _fits(value.shape, like.shape)):
            raise ValueError(
                f"{what} {name!r} is {value.dtype} {tuple(value.shape)} instead of {like.dtype} {tuple(like.shape)}"
            )
    if math.isfinite(total_norm(received) if norm is None else norm):  # of all; one that is too large can be infinite
        return
    for name, value in received.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{what} {name!r} holds numbers that are not finite")


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    return len(shape) == len(expected) and all(want in (0, have) for have, want in zip(shape, expected, strict=True))
