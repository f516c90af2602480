"""Images that are in training and in validation or test, whatever their files are called."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from omnifm.data.columns import Column, Shared, row_chunks
from omnifm.data.patient_rows import ClientSplit

_log = logging.getLogger("omnifm")

_SPARSE = 256
"""Images are first compared by so many of their values, which most differ in, and only then by all."""


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
    row = 0
    for part in row_chunks(different):
        values = part.flatten(1)
        for key in values[:, :: max(1, values.shape[1] // _SPARSE)].contiguous().numpy():
            alike[key.tobytes()].append(row)
            row += 1
    keys = {
        row: content_of(different.index_select(0, torch.tensor([row])))
        for rows in alike.values()
        if len(rows) > 1 or shared is not None
        for row in rows
    }
    if shared is not None:
        return {row: keys[number] for row, number in enumerate(shared)}
    return keys


def content_of(image: Tensor) -> str:
    """Return the digest of an image's values."""
    return blake2b(image.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
