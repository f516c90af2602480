from __future__ import annotations

import pytest
import torch
from helpers import made_holdings, plain_sgd, quadratic_trainer
from rounds import made_upload, settled

from omnifm.algorithms.fedadam import FedAdam

TARGETS = {"a": [2.0], "b": [5.0, 7.0, 6.0]}


def test_two_rounds_by_hand() -> None:
    algorithm = FedAdam(beta1=0.75, beta2=0.75, tau=2.0, eta=4.0)
    state = algorithm.init({"w": torch.tensor([10.0])}, ["w"], made_holdings(2))
    # D = (1 * -2 + 3 * 6) / 4 = 4; m = 4 / 4; v = 0.75 * 4 + 0.25 * 16 = 7; x = 10 + 4 * 1 / (sqrt 7 + 2).
    # To correct the bias would double the step: sqrt(1 - 0.75) / (1 - 0.75) = 2.
    state = algorithm.server_update(state, [made_upload("a", 1, w=[-2.0]), made_upload("b", 3, w=[6.0])])
    assert state.memory["first/w"].tolist() == [1.0]
    assert state.memory["second/w"].tolist() == [7.0]
    first = 10 + 4 / (7**0.5 + 2)
    assert state.shared["w"].item() == pytest.approx(first)
    # D = (1 * 1 - 3 * 3) / 4 = -2; m = 0.75 - 2 / 4; v = 0.75 * 7 + 0.25 * 4 = 6.25; x grows by 4 * 0.25 / (2.5 + 2).
    state = algorithm.server_update(state, [made_upload("a", 1, w=[1.0]), made_upload("b", 3, w=[-3.0])])
    assert state.memory["first/w"].tolist() == [0.25]
    assert state.memory["second/w"].tolist() == [6.25]
    assert state.shared["w"].item() == pytest.approx(first + 1 / 4.5)


def test_the_first_step_of_the_defaults() -> None:
    algorithm = FedAdam()
    state = algorithm.init({"w": torch.tensor([0.0])}, ["w"], made_holdings(1))
    state = algorithm.server_update(state, [made_upload("a", 1, w=[0.01])])
    # m = 0.1 * 0.01; v = 0.99e-6 + 0.01 * 1e-4 = 1.99e-6; x = 0.01 m / (sqrt v + 1e-3). From v = 0 it would be 5e-3.
    assert state.shared["w"].item() == pytest.approx(1e-5 / (1.99e-6**0.5 + 1e-3), rel=1e-5)


def test_each_weight_has_a_step_of_its_own() -> None:
    algorithm = FedAdam(beta1=0.0, beta2=0.0, tau=1.0, eta=1.0)
    state = algorithm.init({"w": torch.zeros(3)}, ["w"], made_holdings(1))
    # x = D / (|D| + 1).
    state = algorithm.server_update(state, [made_upload("a", 1, w=[1.0, -3.0, 0.0])])
    assert state.shared["w"].tolist() == [0.5, -0.75, 0.0]


def test_a_sample_of_clients_carries_the_moments_on() -> None:
    algorithm = FedAdam(beta1=0.5, beta2=0.75, tau=2.0, eta=4.0)
    state = algorithm.init({"w": torch.tensor([0.0])}, ["w"], made_holdings(2))
    state = algorithm.server_update(state, [made_upload("a", 1, w=[-2.0]), made_upload("b", 3, w=[6.0])])
    # Alone, b's change is the mean: m = 2 / 2 + 6 / 2; v = 0.75 * 7 + 0.25 * 36.
    state = algorithm.server_update(state, [made_upload("b", 3, w=[6.0])])
    assert state.memory["first/w"].tolist() == [4.0]
    assert state.memory["second/w"].tolist() == [14.25]
    assert state.shared["w"].item() == pytest.approx(8 / (7**0.5 + 2) + 16 / (14.25**0.5 + 2))


def test_reaches_the_mean_of_all_samples() -> None:
    trainers = {name: quadratic_trainer(name, values, plain_sgd(0.5)) for name, values in TARGETS.items()}
    # Near 5, v has faded and a step is D / 1 = (5 - x) / 2: it settles.
    assert settled(FedAdam(beta1=0.5, beta2=0.9, tau=1.0, eta=1.0), trainers, 80) == pytest.approx(5.0)
