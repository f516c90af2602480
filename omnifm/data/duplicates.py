"""Images that are in training and in validation or test, whatever their files are called."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from omnifm.data.columns import Column, Shared, row_chunks
from omnifm.data.packed import Packed
from omnifm.data.patient_rows import ClientSplit

_log = logging.getLogger("omnifm")

_MIDDLE = 256
"""Images are first compared by so many values of their middle, which most differ in, and only then by all."""
_TOGETHER, _WHOLE = 1024, 64  # so many middles, and whole images, are read at a time


def warn_of_duplicates(images: Column, shares: Sequence[ClientSplit]) -> None:
    """Warn, in one line, of images for validation or test that some client trains on.

    Args:
        images: of all rows, ``(rows, channels, *size)``.
        shares: which rows are for what.
    """
    found = _same(images)
    if not found:
        return
    trained = {found[row] for share in shares for row in share.train if row in found}
    held_out = {
        share.name: {found[row] for row in (*share.validation, *share.test) if row in found} & trained
        for share in shares
    }
    count = len(set().union(*held_out.values()))
    if count:
        worst = max(held_out, key=lambda name: len(held_out[name]))
        _log.warning(
            "%d images for validation or test are also in training (%d of them at client %r), so scores are too good. "
            "`omnifm data check` lists their files.",
            count,
            len(held_out[worst]),
            worst,
        )


def _same(images: Column) -> dict[int, str]:
    """Return the rows whose image is that of another row as well, with what is the same for the same image."""
    different = images.values if isinstance(images, Shared) else images
    shared = images.index.tolist() if isinstance(images, Shared) else None
    alike: dict[bytes, list[int]] = defaultdict(list)
    for row, middle in enumerate(_middles(different)):
        alike[middle.tobytes()].append(row)
    asked = [row for rows in alike.values() if len(rows) > 1 or shared is not None for row in rows]
    keys = dict(zip(asked, _contents(different, asked), strict=True))
    if shared is not None:
        return {row: keys[number] for row, number in enumerate(shared)}
    return keys


def _middles(images: Column) -> Iterator[NDArray[Any]]:
    """Yield values from the middle of each image; of those in a file, no others are read."""
    if isinstance(images, Packed):
        flat = images.values.reshape(len(images.values), -1)
        parts = (flat[start : start + _TOGETHER] for start in range(0, len(flat), _TOGETHER))
    else:
        parts = (part.flatten(1).numpy() for part in row_chunks(images, _TOGETHER))
    for part in parts:
        first = max(0, part.shape[1] - _MIDDLE) // 2
        middles = part[:, first : first + _MIDDLE].copy()
        if isinstance(images, Packed) and images.file is not None:
            images.file.touched(middles)
        yield from middles


def _contents(images: Column, rows: Sequence[int]) -> Iterator[str]:
    """Yield the digest of each of these images."""
    for part in torch.split(torch.tensor(rows, dtype=torch.int64), _WHOLE):
        yield from map(content_of, images.index_select(0, part))


def content_of(image: Tensor) -> str:
    """Return the digest of an image's values."""
    return blake2b(image.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
