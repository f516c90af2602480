from __future__ import annotations

import pytest
import torch
from helpers import made_holdings, plain_sgd, quadratic_trainer
from rounds import made_upload, settled

from omnifm.algorithms.fedadam import FedAdam
from omnifm.algorithms.fedyogi import FedYogi

TARGETS = {"a": [2.0], "b": [5.0, 7.0, 6.0]}


def test_v_grows_and_shrinks_by_what_comes_in() -> None:
    algorithm = FedYogi(beta1=0.5, beta2=0.75, tau=2.0, eta=4.0)
    state = algorithm.init({"w": torch.tensor([10.0])}, ["w"], made_holdings(2))
    # D = (1 * -2 + 3 * 6) / 4 = 4; m = 4 / 2; v = 4 < 16 grows by 16 / 4 to 8; x = 10 + 4 * 2 / (sqrt 8 + 2).
    state = algorithm.server_update(state, [made_upload("a", 1, w=[-2.0]), made_upload("b", 3, w=[6.0])])
    assert state.memory["first/w"].tolist() == [2.0]
    assert state.memory["second/w"].tolist() == [8.0]
    first = 10 + 8 / (8**0.5 + 2)
    assert state.shared["w"].item() == pytest.approx(first)
    # D = (1 * 1 + 3 * 1) / 4 = 1; m = 2 / 2 + 1 / 2; v = 8 > 1 shrinks by 1 / 4 to 7.75.
    state = algorithm.server_update(state, [made_upload("a", 1, w=[1.0]), made_upload("b", 3, w=[1.0])])
    assert state.memory["first/w"].tolist() == [1.5]
    assert state.memory["second/w"].tolist() == [7.75]
    assert state.shared["w"].item() == pytest.approx(first + 6 / (7.75**0.5 + 2))


def test_without_change_v_stays_where_adam_forgets() -> None:
    for algorithm, expected in ((FedYogi(beta2=0.75, tau=2.0), 4.0), (FedAdam(beta2=0.75, tau=2.0), 3.0)):
        state = algorithm.init({"w": torch.tensor([0.0])}, ["w"], made_holdings(1))
        state = algorithm.server_update(state, [made_upload("a", 1, w=[0.0])])
        assert state.memory["second/w"].tolist() == [expected]


def test_the_first_step_of_the_defaults() -> None:
    algorithm = FedYogi()
    state = algorithm.init({"w": torch.tensor([0.0])}, ["w"], made_holdings(1))
    state = algorithm.server_update(state, [made_upload("a", 1, w=[0.01])])
    # m = 0.1 * 0.01; v = 1e-6 + 0.01 * 1e-4; x = 0.01 m / (sqrt v + 1e-3).
    assert state.shared["w"].item() == pytest.approx(1e-5 / (2e-6**0.5 + 1e-3), rel=1e-5)


def test_v_never_turns_negative() -> None:
    algorithm = FedYogi(beta2=0.0)
    state = algorithm.init({"w": torch.zeros(1)}, ["w"], made_holdings(1))
    for change in (3.0, 2.9, 1.0, 0.1, 3.0, 0.0):
        state = algorithm.server_update(state, [made_upload("a", 1, w=[change])])
        assert state.memory["second/w"].item() >= 0
        assert state.shared["w"].isfinite().all()


def test_reaches_the_mean_of_all_samples() -> None:
    trainers = {name: quadratic_trainer(name, values, plain_sgd(0.5)) for name, values in TARGETS.items()}
    # Near 5, v stays and a step is D / (sqrt v + 1), less than (5 - x) / 2: it settles.
    assert settled(FedYogi(beta1=0.5, beta2=0.9, tau=1.0, eta=1.0), trainers, 80) == pytest.approx(5.0)
