from __future__ import annotations

import pytest
import torch
from helpers import plain_sgd, quadratic_trainer, same
from torch import Tensor, nn

from omnifm.algorithms.gradients import pull, shift
from omnifm.core.tensors import Tensors
from omnifm.training.hooks import GradientHook, LocalTraining
from omnifm.training.trainer import Trainer


def vector_trainer() -> Trainer:
    """Return a trainer whose shared number is a vector of three."""
    trainer = quadratic_trainer("a", [0.0])
    trainer.model.network.weight = nn.Parameter(torch.zeros(3))
    return trainer


def corrected(correct: GradientHook, weight: list[float], gradient: list[float]) -> list[float]:
    weights, gradients = {"network.weight": torch.tensor(weight)}, {"network.weight": torch.tensor(gradient)}
    correct(weights, gradients)
    assert weights["network.weight"].tolist() == weight
    return gradients["network.weight"].tolist()


def anchored(*at: float) -> Tensors:
    return {"network.weight": torch.tensor(at)}


def test_pull_by_hand() -> None:
    correct = pull(0.5, anchored(1.0, 1.0, 1.0), vector_trainer())
    # (1, 1, 1) + 0.5 ((3, 1, -7) - (1, 1, 1)).
    assert corrected(correct, [3.0, 1.0, -7.0], [1.0, 1.0, 1.0]) == [2.0, 1.0, -3.0]


def test_pull_grows_with_the_distance() -> None:
    correct = pull(0.5, anchored(0.0, 0.0, 0.0), vector_trainer())
    # (2, 0, 0) and ten times as far; the gradient of a norm that is not squared would be (0.5, 0, 0) for both.
    assert corrected(correct, [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]) == [1.0, 0.0, 0.0]
    assert corrected(correct, [20.0, 0.0, 0.0], [0.0, 0.0, 0.0]) == [10.0, 0.0, 0.0]


def test_pull_is_the_gradient_of_the_squared_distance() -> None:
    draw = torch.Generator().manual_seed(0)
    weight, anchor = torch.randn(3, generator=draw, requires_grad=True), torch.randn(3, generator=draw)
    (expected,) = torch.autograd.grad(0.7 / 2 * (weight - anchor).square().sum(), weight)
    found = corrected(pull(0.7, {"network.weight": anchor}, vector_trainer()), weight.tolist(), [0.0, 0.0, 0.0])
    assert found == pytest.approx(expected.tolist())


def test_shift_is_the_same_wherever_the_weights_are() -> None:
    correct = shift(anchored(0.5, 0.0, -2.0), vector_trainer())
    for weight in ([0.0, 0.0, 0.0], [9.0, -9.0, 100.0]):
        assert corrected(correct, weight, [1.0, 1.0, 1.0]) == [1.5, 1.0, -1.0]


@pytest.mark.parametrize("term", [pull(0.0, anchored(5.0), vector_trainer()), shift(anchored(0.0), vector_trainer())])
def test_nothing_to_add_changes_no_bit(term: GradientHook) -> None:
    gradient: list[float] = torch.randn(3, generator=torch.Generator().manual_seed(1)).tolist()
    assert corrected(term, [1.0, 2.0, 3.0], gradient) == gradient


def made_terms(tensors: Tensors, trainer: Trainer) -> list[GradientHook]:
    return [pull(1.0, tensors, trainer), shift(tensors, trainer)]


def test_what_is_not_named_is_left_alone() -> None:
    for correct in made_terms(anchored(4.0), vector_trainer()):
        weights = {"network.weight": torch.zeros(1), "own": torch.ones(1)}
        gradients = {"network.weight": torch.zeros(1), "own": torch.ones(1)}
        correct(weights, gradients)
        assert gradients["network.weight"].abs().item() == 4.0
        assert gradients["own"].item() == 1.0


def test_what_is_not_trained_now_is_passed_over() -> None:
    for correct in made_terms(anchored(4.0), vector_trainer()):
        gradients: dict[str, Tensor] = {}
        correct({"network.weight": torch.zeros(1)}, gradients)
        assert gradients == {}


def test_buffers_and_unknown_names_have_no_term() -> None:
    tensors = {"network.head.bias": torch.ones(1), "nowhere": torch.ones(1)}
    for correct in made_terms(tensors, vector_trainer()):
        gradients = {name: torch.zeros(1) for name in tensors}
        correct({name: torch.zeros(1) for name in tensors}, gradients)
        assert same(gradients, {name: torch.zeros(1) for name in tensors})


def test_the_anchor_does_not_follow_the_weights() -> None:
    trainer = quadratic_trainer("a", [8.0], plain_sgd(0.5, epochs=2))
    start = trainer.tensors()
    fit = trainer.fit(1, LocalTraining(gradient_hook=pull(1.0, start, trainer)))
    # From 0: g = -8, w = 4; then g = -4 + (4 - 0), so w stays at 4.
    assert trainer.tensors()["network.weight"].item() == 4.0
    assert start["network.weight"].item() == 0.0
    assert fit.steps == 2
