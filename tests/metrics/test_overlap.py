from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from omnifm.metrics.overlap import dice, hausdorff95


def square(top: int, left: int, side: int, size: int = 12) -> Tensor:
    mask = torch.zeros(1, 1, size, size, dtype=torch.bool)
    mask[..., top : top + side, left : left + side] = True
    return mask


NOTHING = torch.zeros(1, 1, 12, 12, dtype=torch.bool)


def test_dice_by_hand() -> None:
    # 16 and 16 pixels, of which 3 x 2 are common.
    assert dice(square(2, 2, 4), square(3, 4, 4)).item() == pytest.approx(2 * 6 / 32)
    assert dice(square(2, 2, 4), square(2, 2, 4)).item() == 1


def test_distance_of_a_moved_square_is_the_move() -> None:
    assert hausdorff95(square(2, 2, 4), square(2, 5, 4)).item() == 3
    assert hausdorff95(square(2, 2, 4), square(2, 2, 4)).item() == 0


def test_the_distance_is_that_of_all_pairs_of_the_surfaces() -> None:
    draw = torch.Generator().manual_seed(0)
    found, truth = (torch.rand(2, 1, 1, 7, 9, generator=draw) > 0.7).unbind()
    spacing = torch.tensor([[2.0, 0.5]])

    def surface(mask: Tensor) -> Tensor:
        around = torch.nn.functional.pad(mask[0, 0].float(), (1, 1, 1, 1))
        cross = torch.stack([around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]])
        return (mask[0, 0] & (cross.amin(dim=0) == 0)).nonzero() * spacing

    apart = torch.cdist(surface(found), surface(truth))
    expected = max(torch.quantile(apart.amin(dim=dim), 0.95).item() for dim in (0, 1))
    assert hausdorff95(found, truth, spacing).item() == pytest.approx(expected, rel=1e-5)


def test_spacing_makes_millimetres() -> None:
    spacing = torch.tensor([[1.0, 2.5]])
    assert hausdorff95(square(2, 2, 4), square(2, 5, 4), spacing).item() == pytest.approx(7.5)


def test_both_empty_is_perfect() -> None:
    assert dice(NOTHING, NOTHING).item() == 1
    assert hausdorff95(NOTHING, NOTHING).item() == 0


@pytest.mark.parametrize(("found", "truth"), [(NOTHING, square(1, 1, 2)), (square(1, 1, 2), NOTHING)])
def test_one_empty_is_as_bad_as_can_be(found: Tensor, truth: Tensor) -> None:
    assert dice(found, truth).item() == 0
    assert hausdorff95(found, truth).item() == pytest.approx(12 * math.sqrt(2))
    assert hausdorff95(found, truth, torch.tensor([[3.0, 4.0]])).item() == pytest.approx(12 * 5)


def test_volumes_and_rows_of_different_spacing() -> None:
    found = torch.zeros(2, 1, 6, 6, 6, dtype=torch.bool)
    found[:, :, 2:4, 2:4, 2:4] = True
    moved = found.roll(2, dims=2)
    spacing = torch.tensor([[1.0, 1.0, 1.0], [3.0, 1.0, 1.0]])
    assert hausdorff95(found, moved, spacing).flatten().tolist() == [2, 6]
    assert dice(found, moved).flatten().tolist() == [0, 0]
