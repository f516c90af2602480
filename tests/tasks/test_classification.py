from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor

from omnifm.data.subset import Batch, Subset
from omnifm.tasks.classification import Classification, ClassificationSettings
from omnifm.tasks.task import DataShape, Scores

NAMES = ("octmnist/drusen", "octmnist/normal", "chest/mass", "chest/nodule")
INF = math.inf


def task(**settings: Any) -> Classification:
    return Classification(ClassificationSettings(**{"width": 8, **settings}), DataShape(1, (8, 8), NAMES))


def batch(target: list[list[int]], allowed: list[list[int]], exclusive: list[bool], **more: Tensor) -> Batch:
    return {
        "image": torch.rand(len(target), 1, 16, 16, generator=torch.Generator().manual_seed(0)),
        "target": torch.tensor(target, dtype=torch.uint8),
        "allowed": torch.tensor(allowed).bool(),
        "exclusive": torch.tensor(exclusive),
        **more,
    }


def masked(logits: list[list[float]], given: Batch) -> Tensor:
    return torch.tensor(logits, dtype=torch.float32).masked_fill(~given["allowed"], -INF)


SINGLE = batch([[0, 1, 0, 0], [1, 0, 0, 0]], [[1, 1, 0, 0], [1, 1, 1, 0]], [True, True])
MULTI = batch([[0, 0, 1, 0], [0, 0, 0, 0]], [[0, 0, 1, 1]] * 2, [False, False])
MIXED = batch([[0, 1, 0, 0], [0, 0, 1, 1]], [[1, 1, 0, 0], [0, 0, 1, 1]], [True, False])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_cross_entropy_over_the_allowed_classes_by_hand() -> None:
    prediction = masked([[1.0, 2.0, 99.0, 99.0], [0.5, 0.0, -1.0, 99.0]], SINGLE)
    first = -math.log(math.exp(2) / (math.exp(1) + math.exp(2)))
    second = -math.log(math.exp(0.5) / (math.exp(0.5) + 1 + math.exp(-1)))
    assert task().loss(prediction, SINGLE).item() == pytest.approx((first + second) / 2)


def test_binary_cross_entropy_over_the_allowed_labels_by_hand() -> None:
    prediction = masked([[99.0, 99.0, 2.0, -1.0], [99.0, 99.0, 0.5, 3.0]], MULTI)
    first = (softplus(-2.0) + softplus(-1.0)) / 2
    second = (softplus(0.5) + softplus(3.0)) / 2
    assert task().loss(prediction, MULTI).item() == pytest.approx((first + second) / 2)


def test_rows_of_both_kinds_in_one_batch() -> None:
    prediction = masked([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, -1.0]], MIXED)
    single, multi = softplus(-1.0), (softplus(-2.0) + softplus(1.0)) / 2
    assert task().loss(prediction, MIXED).item() == pytest.approx((single + multi) / 2)


def test_gradients_are_finite_and_none_for_foreign_classes() -> None:
    logits = torch.zeros(2, 4, requires_grad=True)
    task().loss(logits.masked_fill(~MIXED["allowed"], -INF), MIXED).backward()
    assert logits.grad is not None
    # Softmax minus target for the first row, sigmoid minus target over two labels for the second; over two rows.
    expected = [[0.25, -0.25, 0.0, 0.0], [0.0, 0.0, -0.125, -0.125]]
    torch.testing.assert_close(logits.grad, torch.tensor(expected))


def test_class_weights_weigh_the_true_class() -> None:
    weight = torch.tensor([[1.0, 3.0, 1.0, 0.5]]).expand(2, -1)
    prediction = masked([[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0, -1.0]], MIXED)
    single, multi = 3 * softplus(-1.0), (1 * softplus(-2.0) + 0.5 * softplus(1.0)) / 2
    assert task().loss(prediction, {**MIXED, "class_weight": weight}).item() == pytest.approx((single + multi) / 2)


def examples(labels: list[int], allowed: list[int]) -> Subset:
    target = torch.eye(4, dtype=torch.uint8)[labels]
    given = batch(target.tolist(), [allowed] * len(labels), [True] * len(labels))
    return Subset(given, tuple(map(str, range(len(labels)))))


def test_balanced_weights_are_the_inverse_of_the_frequency() -> None:
    train = task(class_weights="balanced").setup_client(examples([0, 0, 0, 2], [1, 1, 1, 0]))
    # Four images, two classes present: 4 / (2 * 3) and 4 / (2 * 1); classes not present keep 1.
    torch.testing.assert_close(train.column("class_weight")[3], torch.tensor([2 / 3, 1.0, 2.0, 1.0]))
    assert train.column("class_weight").shape == (4, 4)
    assert train.batch(torch.tensor([1]))["class_weight"].shape == (1, 4)


def test_balanced_weights_make_every_class_count_equally() -> None:
    labels = [0, 0, 0, 0, 1, 2, 2]
    train = task(class_weights="balanced").setup_client(examples(labels, [1, 1, 1, 0]))
    sums = (train.column("class_weight") * train.column("target")).sum(dim=0)
    torch.testing.assert_close(sums[:3], torch.full((3,), 7 / 3))


def test_that_every_row_has_one_label_is_noted_once() -> None:
    single, mixed = examples([0, 1], [1, 1, 0, 0]), Subset(MIXED, ("0", "1"))
    assert task().setup_client(single).whole().keys() - single.whole().keys() == {"single"}
    assert task().setup_client(mixed) is mixed


@pytest.mark.parametrize("balance", ["none", "balanced"])
def test_the_loss_is_the_same_by_either_way(balance: str) -> None:
    made = task(class_weights=balance)
    prepared = made.setup_client(examples([0, 1, 1, 1, 0, 2], [1, 1, 1, 0])).whole()
    plain = {name: value for name, value in prepared.items() if name != "single"}
    losses, gradients = [], []
    for given in (prepared, plain):
        logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = made.loss(logits.masked_fill(~given["allowed"], -INF), given)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(logits.grad)
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert (gradients[0][:, 3] == 0).all()


def scored(prediction: Tensor, given: Batch, pieces: int = 1) -> Scores:
    metric = task().metric(Subset({}, ()))
    for rows in torch.arange(len(prediction)).split(-(-len(prediction) // pieces)):
        metric.update(prediction[rows], {name: value[rows] for name, value in given.items()})
    return metric.compute()


def test_scores_of_single_labels_by_hand() -> None:
    given = batch(
        [[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]], [[1, 1, 1, 0]] * 5, [True] * 5
    )
    prediction = masked([[3, 1, 0, 9], [0, 2, 1, 9], [0, 2, 1, 9], [1, 0, 4, 9], [2, 1, 0, 9]], given)
    scores = scored(prediction, given)
    assert scores.numbers["accuracy"] == pytest.approx(3 / 5)
    # F1 by class: 2 * 1 / (2 + 2), 2 * 1 / (2 + 1), 2 * 1 / (1 + 2).
    assert scores.numbers["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 2 / 3) / 3)
    assert scores.tables["confusion"].tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_scores_of_single_labels_are_sklearns() -> None:
    numbers = np.random.default_rng(0)
    label, logits = numbers.integers(0, 3, 50), numbers.normal(size=(50, 3)).astype(np.float32)
    padded = np.pad(logits, ((0, 0), (0, 1)), constant_values=50)
    given = batch(np.eye(4, dtype=int)[label].tolist(), [[1, 1, 1, 0]] * 50, [True] * 50)
    scores = scored(masked(padded.tolist(), given), given, pieces=3)
    assert scores.numbers == pytest.approx(
        {
            "accuracy": np.mean(logits.argmax(axis=1) == label),
            "macro_f1": f1_score(label, logits.argmax(axis=1), average="macro"),
            "auc": roc_auc_score(label, softmax(logits.astype(np.float64)), multi_class="ovr"),
        },
        abs=1e-6,
    )


def test_scores_of_several_labels_by_hand() -> None:
    given = batch([[0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]], [[0, 0, 1, 1]] * 3, [False] * 3)
    prediction = masked([[9, 9, 2, -1], [9, 9, 0.5, 3], [9, 9, -1, -2]], given)
    scores = scored(prediction, given)
    # Right: one label of two, one of two, both.
    assert scores.numbers["accuracy"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert scores.numbers["macro_f1"] == pytest.approx((1 + 0) / 2)
    # Mass: both positives above the negative. Nodule: -1 is above -2 but below 3.
    assert scores.numbers["auc"] == pytest.approx((1 + 1 / 2) / 2)
    assert scores.tables == {}


def test_a_class_without_both_signs_is_left_out_of_the_auc() -> None:
    given = batch([[1, 0, 0, 0], [0, 1, 0, 0]], [[1, 1, 1, 0]] * 2, [True] * 2)
    assert scored(masked([[2, 1, 0, 0], [1, 2, 0, 0]], given), given).numbers["auc"] == 1.0
    alike = batch([[1, 0, 0, 0]] * 2, [[1, 1, 0, 0]] * 2, [True] * 2)
    assert "auc" not in scored(masked([[2, 1, 0, 0]] * 2, alike), alike).numbers


def test_a_class_is_evaluated_on_the_images_that_may_have_it() -> None:
    given = batch(
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]] * 2,
        [True] * 4,
    )
    prediction = masked([[1, 2, 0, 0], [2, 1, 0, 0], [0, 0, 2, 1], [0, 0, 1, 2]], given)
    # The first two classes are ranked the wrong way round, the others the right way.
    assert scored(prediction, given).numbers["auc"] == pytest.approx((0 + 0 + 1 + 1) / 4)


def test_batches_do_not_matter() -> None:
    numbers = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (30,), generator=numbers)
    given = batch(torch.eye(4, dtype=torch.uint8)[labels].tolist(), [[1, 1, 1, 0]] * 30, [True] * 30)
    prediction = torch.randn(30, 4, generator=numbers).masked_fill(~given["allowed"], -INF)
    one, other = scored(prediction, given), scored(prediction, given, pieces=7)
    assert one.numbers == other.numbers
    assert one.tables["confusion"].tolist() == other.tables["confusion"].tolist()


def test_a_foreign_class_is_never_predicted() -> None:
    torch.manual_seed(0)
    network = task().network().eval()
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.0, 0.0, 50.0, 50.0]))
    given = batch([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], [[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]], [True] * 3)
    tokens, context = network.encode(given)
    prediction = network.decode(tokens, context, given).detach()
    assert torch.isneginf(prediction).tolist() == (~given["allowed"]).tolist()
    assert (scored(prediction, given).tables["confusion"][:2, 2:] == 0).all()
    assert scored(prediction, given).tables["confusion"].sum() == 3


def test_the_head_reads_the_mean_of_the_tokens() -> None:
    network = task().network().eval()
    given = batch([[1, 0, 0, 0]] * 2, [[1, 1, 1, 1]] * 2, [True] * 2)
    tokens, context = network.encode(given)
    assert tokens.shape == (2, 4, network.width)
    features = network.backbone(given["image"])
    torch.testing.assert_close(tokens[:, 1], features[:, :, 0, 1])
    expected = features.mean(dim=(2, 3)) @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network.decode(tokens, context, given), expected)


@pytest.mark.parametrize(("network", "width"), [("compact", 32), ("resnet18", 512)])
def test_networks_by_setting(network: str, width: int) -> None:
    made = task(network=network).network()
    assert made.width == width
    assert made.head.out_features == 4


def test_classes_are_those_of_the_union() -> None:
    made = task()
    assert made.classes == len(NAMES)
    assert made.network().pooled


def test_a_row_of_several_labels_has_no_class() -> None:
    assert task().labels(SINGLE).tolist() == [[1], [0]]
    assert task().labels(MULTI).tolist() == [[-1], [-1]]
    found = task().labels(MIXED)
    assert found.tolist() == [[1], [-1]]
    assert found.dtype == torch.int64


def test_one_token_does_as_well_as_all() -> None:
    network = task().network().eval()
    given = batch([[1, 0, 0, 0]] * 2, [[1, 1, 1, 1]] * 2, [True] * 2)
    tokens, context = network.encode(given)
    pooled = network.decode(tokens.mean(dim=1, keepdim=True), context, given)
    torch.testing.assert_close(pooled, network.decode(tokens, context, given))


def test_personal_normalisation_is_the_tasks_wish() -> None:
    assert task(norm="batch-personal").personal == ("norm",)
    assert task(norm="batch").personal == ()


def test_panels_show_what_was_found_and_what_is_true() -> None:
    given = batch(
        [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]],
        [[1, 1, 0, 0]] * 2 + [[0, 0, 1, 1]] * 2,
        [True, True, False, False],
    )
    given["image"][0, 0, 0, :3] = torch.tensor([-1.0, 0.5, 2.0])
    prediction = masked([[1, 2, 0, 0], [1, 2, 0, 0], [0, 0, 3, 3], [0, 0, -1, 3]], given)
    panels = task().visualise(prediction, given)
    assert [(panel.caption, panel.right) for panel in panels] == [
        ("normal", True),
        ("normal, is drusen", False),
        ("mass, nodule", True),
        ("nodule, is none", False),
    ]
    picture = panels[0].given[0].pixels
    assert (picture.dtype, picture.shape) == (np.uint8, (16, 16))
    assert picture[0, :3].tolist() == [0, 127, 255]


def test_colour_panels() -> None:
    given = {**SINGLE, "image": torch.rand(2, 3, 5, 5)}
    pictures = [panel.given[0].pixels for panel in task().visualise(masked([[1, 2, 0, 0]] * 2, SINGLE), given)]
    assert [picture.shape for picture in pictures] == [(5, 5, 3)] * 2
    np.testing.assert_allclose(pictures[1] / 255, given["image"][1].permute(1, 2, 0), atol=1 / 255)


@pytest.mark.parametrize("width", [0, 4, 12, -8])
def test_width_is_checked(width: int) -> None:
    with pytest.raises(ValueError, match=r"width\n.*(multiple of 8|equal to 8)"):
        ClassificationSettings(width=width)
