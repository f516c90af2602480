"""How well a region is segmented: Dice, and the 95th percentile of the distance between surfaces (HD95).

Where a region is empty in target and prediction, that is perfect: Dice 1, HD95 0. Where it is empty in one of them
only, Dice is 0, and HD95 is the diagonal of the image, the largest possible distance; so that every region of
every image counts, and no mean hides those that were missed.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dice(prediction: Tensor, target: Tensor) -> Tensor:
    """Return ``2 |prediction and target| / (|prediction| + |target|)`` of each region.

    Args:
        prediction: ``(batch, regions, *size)`` bool.
        target: of the same shape.

    Returns:
        ``(batch, regions)`` float32.
    """
    from monai.metrics.meandice import compute_dice  # takes seconds to import

    return compute_dice(prediction.float(), target.float(), ignore_empty=False)


def hausdorff95(prediction: Tensor, target: Tensor, spacing: Tensor | None = None) -> Tensor:
    """Return the larger of the two directed 95th percentiles of the distance from one surface to the other.

    Args:
        prediction: ``(batch, regions, *size)`` bool.
        target: of the same shape.
        spacing: ``(batch, axes)``, the distance between neighbours along each axis, in mm; 1 if not given, so that the
            result is in pixels.

    Returns:
        ``(batch, regions)`` float32.
    """
    from monai.metrics.utils import get_mask_edges, get_surface_distance

    prediction, target = prediction.cpu(), target.cpu()
    size = torch.tensor(prediction.shape[2:], dtype=torch.float32)
    steps = torch.ones(len(prediction), len(size)) if spacing is None else spacing.float().cpu()
    some_predicted, some_true = prediction.flatten(2).any(dim=2), target.flatten(2).any(dim=2)
    diagonal = (steps * size).norm(dim=1, keepdim=True)
    distance = torch.where(some_predicted == some_true, torch.zeros_like(diagonal), diagonal)
    for row, region in (some_predicted & some_true).nonzero().tolist():
        one, other = get_mask_edges(prediction[row, region], target[row, region])
        ways = [get_surface_distance(*pair, spacing=steps[row].tolist()) for pair in ((one, other), (other, one))]
        distance[row, region] = max(torch.quantile(torch.as_tensor(way), 0.95) for way in ways)
    return distance
