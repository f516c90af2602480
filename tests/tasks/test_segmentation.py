from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.data.subset import Batch, Subset
from omnifm.tasks.segmentation import REGION_COLOURS, Segmentation, SegmentationSettings
from omnifm.tasks.task import DataShape, Scores
from omnifm.utils.errors import ExperimentError

NAMES = ("whole tumour", "tumour core", "vessel")
BRAIN, EYE = [True, True, False], [False, False, True]


def task(size: tuple[int, ...] = (16, 16), names: tuple[str, ...] = NAMES, **settings: Any) -> Segmentation:
    return Segmentation(SegmentationSettings(**{"depth": 2, **settings}), DataShape(1, size, names))


def batch(mask: Tensor, allowed: list[list[bool]], **more: Tensor) -> Batch:
    image = torch.rand(len(mask), 1, *mask.shape[2:], generator=torch.Generator().manual_seed(0))
    return {"image": image, "mask": mask.to(torch.uint8), "allowed": torch.tensor(allowed), **more}


def brain_and_eye() -> Batch:
    mask = torch.zeros(2, 3, 16, 16)
    mask[0, 0, 2:10, 2:10] = 1
    mask[0, 1, 4:8, 4:8] = 1
    mask[1, 2, :, 5:7] = 1
    return batch(mask, [BRAIN, EYE])


def logits(given: Batch, seed: int = 0) -> Tensor:
    return torch.randn(given["mask"].shape, generator=torch.Generator().manual_seed(seed))


def scored(prediction: Tensor, given: Batch, pieces: int = 1) -> Scores:
    metric = task(tuple(given["mask"].shape[2:])).metric(Subset({}, ()))
    for rows in torch.arange(len(prediction)).split(-(-len(prediction) // pieces)):
        metric.update(prediction[rows], {name: value[rows] for name, value in given.items()})
    return metric.compute()


def certain(mask: Tensor) -> Tensor:
    """Return logits that find just this."""
    return mask.float() * 40 - 20


@pytest.mark.parametrize("size", [(16, 24), (8, 8, 16)])
def test_tokens_are_the_bottleneck_and_come_back_as_regions(size: tuple[int, ...]) -> None:
    network = task(size).network()
    given = batch(torch.zeros(2, 3, *size), [BRAIN, EYE])
    tokens, context = network.encode(given)
    bottleneck, _ = network.backbone(given["image"])
    assert network.width == 32
    assert tokens.shape == (2, np.prod(size) // 4 ** len(size), 32)
    torch.testing.assert_close(tokens[:, 1], bottleneck.flatten(2)[:, :, 1])
    torch.testing.assert_close(
        network.decode(tokens, context, given), network.head(bottleneck, network.backbone(given["image"])[1])
    )
    assert network.decode(tokens, context, given).shape == (2, 3, *size)


def test_loss_by_hand() -> None:
    given = brain_and_eye()
    prediction = logits(given)
    entropy = F.binary_cross_entropy_with_logits(prediction, given["mask"].float(), reduction="none").mean(dim=(2, 3))
    entropies = [entropy[0, 0], entropy[0, 1], entropy[1, 2]]
    overlaps = []
    for row, region in ((0, 0), (0, 1), (1, 2)):
        probability, truth = prediction[row, region].sigmoid(), given["mask"][row, region].float()
        overlaps.append((2 * (probability * truth).sum() + 1) / (probability.sum() + truth.sum() + 1))
    expected = sum(entropies) / 3 + 1 - sum(overlaps) / 3
    torch.testing.assert_close(task().loss(prediction, given), expected)


def test_the_dice_of_a_batch_is_monais() -> None:
    from monai.losses.dice import DiceLoss

    given = batch((logits(brain_and_eye(), 1) > 0.5).float(), [[True] * 3] * 2)
    prediction, truth = logits(given), given["mask"].float()
    expected = DiceLoss(sigmoid=True, batch=True, smooth_nr=1, smooth_dr=1)(prediction, truth)
    expected = expected + F.binary_cross_entropy_with_logits(prediction, truth)
    torch.testing.assert_close(task().loss(prediction, given), expected)


def test_regions_that_nobody_drew_teach_nothing() -> None:
    given = brain_and_eye()
    prediction = logits(given).requires_grad_()
    task().loss(prediction, given).backward()
    assert prediction.grad is not None
    taught = prediction.grad.flatten(2).abs().amax(dim=2) > 0
    assert taught.tolist() == [BRAIN, EYE]


def test_an_empty_region_is_learned_as_empty() -> None:
    given = batch(torch.zeros(1, 3, 16, 16), [BRAIN])
    assert task().loss(torch.full((1, 3, 16, 16), -20.0), given).item() == pytest.approx(0, abs=1e-4)
    assert task().loss(torch.full((1, 3, 16, 16), 20.0), given).item() > 10


def test_scores_by_hand() -> None:
    given = brain_and_eye()
    found = given["mask"].clone()
    found[0, 0] = found[0, 0].roll(4, dims=1)  # half of it, 4 pixels off
    found[0, 2] = 1  # not asked of this image
    found[1, 2] = 0
    scores = scored(certain(found), given)
    diagonal = 16 * 2**0.5
    assert scores.numbers == pytest.approx(
        {
            "dice": (0.5 + 1 + 0) / 3,
            "dice_whole_tumour": 0.5,
            "dice_tumour_core": 1,
            "dice_vessel": 0,
            "hd95": (4 + 0 + diagonal) / 3,
            "hd95_whole_tumour": 4,
            "hd95_tumour_core": 0,
            "hd95_vessel": diagonal,
        }
    )


def test_distances_are_in_millimetres_where_the_spacing_is_known() -> None:
    given = brain_and_eye()
    found = given["mask"].roll(2, dims=3)
    spaced = {**given, "spacing": torch.tensor([[1.0, 1.5], [1.0, 3.0]])}
    numbers = scored(certain(found), spaced).numbers
    assert numbers["hd95_whole_tumour"] == pytest.approx(3)
    assert numbers["hd95_vessel"] == pytest.approx(6)


def test_a_region_that_no_example_may_have_has_no_score() -> None:
    given = {name: value[:1] for name, value in brain_and_eye().items()}
    numbers = scored(certain(given["mask"]), given).numbers
    assert "dice_vessel" not in numbers
    assert numbers["dice"] == 1


def test_batches_do_not_matter() -> None:
    mask = logits(batch(torch.zeros(7, 3, 8, 8), [BRAIN] * 7), 1) > 0.3
    given = batch(mask.float(), [BRAIN] * 5 + [EYE] * 2)
    assert scored(logits(given), given).numbers == scored(logits(given), given, pieces=3).numbers


def test_lower_distances_are_better() -> None:
    assert task().lower_is_better == ("hd95", "hd95_whole_tumour", "hd95_tumour_core", "hd95_vessel")


def test_image_and_mask_move_together() -> None:
    mask = torch.zeros(6, 3, 16, 16)
    mask[:, 0, 3:7, 9:14] = 1
    given = batch(mask, [BRAIN] * 6)
    given["image"] = given["mask"][:, :1].float()
    moved = task().augment(given, torch.Generator().manual_seed(1))
    assert moved["mask"].dtype == torch.uint8
    assert torch.equal(moved["image"], moved["mask"][:, :1].float())
    assert not torch.equal(moved["mask"], given["mask"])
    assert task(augment=False).augment(given, torch.Generator()) is given


def test_the_class_of_a_position_is_the_innermost_region_that_fills_half_of_it() -> None:
    mask = torch.zeros(1, 3, 8, 8)
    mask[0, 0, :4] = 1  # both upper cells
    mask[0, 1, :4, :2] = 1  # half of the first
    mask[0, 2, 4:, 4:5] = 1  # a quarter of the last
    found = task((8, 8)).labels(batch(mask, [[True] * 3]))
    assert found.tolist() == [[2, 1, 0, 0]]
    assert found.dtype == torch.int64
    assert task().classes == 4


@pytest.mark.parametrize("size", [(16, 16), (8, 8, 8)])
def test_a_position_has_a_class_each(size: tuple[int, ...]) -> None:
    made = task(size)
    given = batch(torch.zeros(2, 3, *size), [BRAIN, EYE])
    assert made.labels(given).shape == made.network().encode(given).tokens.shape[:2]


@pytest.mark.parametrize("size", [(15, 16), (2, 2), (16, 16, 6)])
def test_a_side_that_cannot_be_halved_is_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ExperimentError, match=r"halves every side 2 times: set data.size to a multiple of 4, such as"):
        task(size)


def test_data_without_regions_are_refused() -> None:
    with pytest.raises(ExperimentError, match="needs regions"):
        task(names=())


def test_panels_show_truth_and_what_was_found() -> None:
    given = brain_and_eye()
    given["image"][:] = 0.5
    found = given["mask"].clone()
    found[0, 1] = 0
    brain, eye = task().visualise(certain(found), given)
    assert [picture.title for picture in brain.given] == ["image", "truth"]
    assert brain.caption == "Dice: whole tumour 1.00, tumour core 0.00"
    assert eye.caption == "Dice: vessel 1.00"
    truth, hit = brain.given[1].pixels, brain.found.pixels if brain.found else None
    assert hit is not None
    assert (truth.dtype, truth.shape) == (np.uint8, (16, 16, 3))
    assert truth[0, 0].tolist() == [127] * 3
    for place, region in (((2, 2), 0), ((5, 5), 1)):
        assert truth[place].tolist() == [int(63.5 + 0.5 * value) for value in REGION_COLOURS[region]]
    assert hit[5, 5].tolist() == truth[2, 2].tolist()


def test_the_slice_of_a_volume_with_most_of_the_truth_is_shown() -> None:
    mask = torch.zeros(1, 3, 8, 8, 8)
    mask[0, 0, 2, 1:3, 1:3] = 1
    mask[0, 0, 5, :, :] = 1
    given = batch(mask, [BRAIN])
    (panel,) = task((8, 8, 8)).visualise(certain(torch.zeros_like(mask)), given)
    assert np.array_equal(panel.given[0].pixels, (given["image"][0, 0, 5] * 255).to(torch.uint8).numpy())
    assert len(np.unique(panel.given[1].pixels.reshape(-1, 3), axis=0)) > 1


@pytest.mark.parametrize("settings", [{"width": 12}, {"width": 0}, {"depth": 0}])
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"width|depth"):
        SegmentationSettings(**settings)


def test_personal_normalisation_is_the_tasks_wish() -> None:
    assert task(norm="batch-personal").personal == ("norm",)
    assert task(norm="group").personal == ()
