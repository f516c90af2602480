"""From the planes of an image in its own size to what a network says of it: whole, in windows, or slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.data.preparation import Preparation
from omnifm.data.reading.prepare import resized
from omnifm.export.client_model import ClientModel

OVERLAP = 0.25
"""The share of a window that the next one covers too."""
_AT_A_TIME = 8


def seen_by_network(client: ClientModel, prepared: Preparation, planes: Tensor) -> Tensor:
    """Return an image as the network would see it whole: ``(rows, channels, *size)``, a row a slice of a volume."""
    size = client.task.image_size(client.spec.shape.size)
    return resized(_rows(prepared, planes), size[0]).clamp(0, 1)


def probabilities(client: ClientModel, prepared: Preparation, planes: Tensor) -> Tensor:
    """Return the probability of each label, ``(labels,)``: of a volume of which the network sees slices, their mean."""
    parts = torch.split(seen_by_network(client, prepared, planes), _AT_A_TIME)
    return torch.cat([_main(client, part) for part in parts]).mean(dim=0)


def answer_to(client: ClientModel, prepared: Preparation, planes: Tensor, question: str) -> str:
    """Return the answer to a question: of a volume of which the network sees slices, by the slice in the middle."""
    rows = seen_by_network(client, prepared, planes)
    found: list[str] = client(rows[len(rows) // 2][None], question=[question])
    return found[0]


def region_probabilities(
    client: ClientModel, prepared: Preparation, planes: Tensor, spacing: tuple[float, ...] | None
) -> Tensor:
    """Return the probability of each region at each place, ``(regions, *size)``, on the image's own grid.

    Where training saw whole images, so does the network here, and its answer is resized. Where it saw windows, or
    images of so many mm, windows of that size slide over the image.
    """
    rows = _rows(prepared, planes)
    own = tuple(rows.shape[2:])
    if prepared.mm and spacing is not None:
        steps = spacing[-len(own) :]
        fine = prepared.mm / prepared.size
        grid = [max(1, round(side * step / fine)) for side, step in zip(own, steps, strict=True)]
        found = _slid(_resampled(rows, grid), prepared.size, lambda part: _main(client, part))
    elif prepared.tile:
        found = _slid(
            rows, prepared.tile, lambda part: _resampled(_main(client, resized(part, prepared.size)), part.shape[2:])
        )
    else:
        parts = torch.split(rows, _AT_A_TIME)
        found = torch.cat([_main(client, resized(part, prepared.size).clamp(0, 1)) for part in parts])
    return _whole(_resampled(found, own), planes)


def made_image(client: ClientModel, prepared: Preparation, planes: Tensor) -> Tensor:
    """Return the image that the network makes, ``(channels, *size)``: windows of its own size slide over the image."""
    side = client.task.image_size(client.spec.shape.size)[-1]
    return _whole(_slid(_rows(prepared, planes), side, lambda part: _main(client, part)), planes)


def _rows(prepared: Preparation, planes: Tensor) -> Tensor:
    """Return ``(rows, channels, *size)``: one row, or of a volume one a slice, where the network sees slices."""
    slices = prepared.axes == 2 and planes.dim() == 4
    return planes.transpose(0, 1) if slices else planes[None]


def _whole(rows: Tensor, planes: Tensor) -> Tensor:
    """Undo :func:`_rows`."""
    return rows[0] if planes.dim() == rows.dim() - 1 else rows.transpose(0, 1)


def _main(client: ClientModel, rows: Tensor) -> Tensor:
    found = client.result(rows.contiguous())
    return next(iter(found.values()))


def _slid(rows: Tensor, side: int, predict: Callable[[Tensor], Tensor]) -> Tensor:
    """Let windows of a side slide over images, and blend what is predicted in them."""
    if all(length == side for length in rows.shape[2:]):
        return torch.cat([predict(part) for part in torch.split(rows, _AT_A_TIME)])
    from monai.inferers.utils import sliding_window_inference  # takes seconds to import

    axes = rows.dim() - 2

    def slid(row: Tensor) -> Any:
        return sliding_window_inference(
            row, (side,) * axes, _AT_A_TIME, predict, OVERLAP, mode="gaussian", padding_mode="replicate"
        )

    return torch.cat([slid(row[None]) for row in rows])


def _resampled(values: Tensor, size: Any) -> Tensor:
    """Return ``(rows, channels, *size)`` in another size, linearly; smoothed before images shrink."""
    if tuple(values.shape[2:]) == tuple(size):
        return values
    if values.dim() == 4:
        return F.interpolate(values, size=tuple(size), mode="bilinear", antialias=True, align_corners=False)
    from monai.transforms.spatial.array import Resize

    smooth = any(new < old for new, old in zip(size, values.shape[2:], strict=True))
    resize = Resize(tuple(size), mode="trilinear", anti_aliasing=smooth)
    return torch.stack([torch.as_tensor(resize(row)).as_subclass(Tensor) for row in values])
