from __future__ import annotations

import pytest
import torch
from helpers import made_holdings, plain_sgd, quadratic_trainer
from rounds import made_upload, quadratic_start, settled

from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.fedavgm import FedAvgM

TARGETS = {"a": [2.0], "b": [5.0, 7.0, 6.0]}


def test_two_rounds_by_hand() -> None:
    algorithm = FedAvgM(beta=0.5, eta=2.0)
    state = algorithm.init({"w": torch.tensor([10.0])}, ["w"], made_holdings(2))
    # D = (1 * 4 + 3 * 8) / 4 = 7; v = 7; x = 10 + 2 * 7.
    state = algorithm.server_update(state, [made_upload("a", 1, w=[4.0]), made_upload("b", 3, w=[8.0])])
    assert state.memory["velocity/w"].tolist() == [7.0]
    assert state.shared["w"].tolist() == [24.0]
    # D = (1 * 5 - 3 * 3) / 4 = -1; v = 7 / 2 - 1 = 2.5; x = 24 + 2 * 2.5.
    state = algorithm.server_update(state, [made_upload("a", 1, w=[5.0]), made_upload("b", 3, w=[-3.0])])
    assert state.memory["velocity/w"].tolist() == [2.5]
    assert state.shared["w"].tolist() == [29.0]
    assert state.round == 2


def test_by_default_there_is_momentum() -> None:
    algorithm = FedAvgM()
    state = algorithm.init({"w": torch.tensor([0.0])}, ["w"], made_holdings(1))
    for _ in range(2):
        state = algorithm.server_update(state, [made_upload("a", 1, w=[1.0])])
    # v = 1, then 0.9 + 1.
    assert state.shared["w"].item() == pytest.approx(1.0 + 1.9)


def test_a_sample_of_clients_carries_the_velocity_on() -> None:
    algorithm = FedAvgM(beta=0.5)
    state = algorithm.init({"w": torch.tensor([0.0])}, ["w"], made_holdings(2))
    state = algorithm.server_update(state, [made_upload("a", 1, w=[4.0]), made_upload("b", 3, w=[8.0])])
    # Alone, a's change is the mean: v = 7 / 2 + 4, x = 7 + 7.5.
    state = algorithm.server_update(state, [made_upload("a", 1, w=[4.0])])
    assert state.shared["w"].tolist() == [14.5]


def test_reaches_the_mean_of_all_samples_as_fedavg_does() -> None:
    trainers = {name: quadratic_trainer(name, values, plain_sgd(0.5)) for name, values in TARGETS.items()}
    # With e = x - 5, D = -e / 2: e'' = e' + 0.5 (e' - e) - 0.5 e' = e' - 0.5 e, whose roots have the size sqrt 0.5.
    assert settled(FedAvgM(beta=0.5), trainers, 60) == pytest.approx(5.0)
    assert settled(FedAvg(), trainers, 30) == pytest.approx(5.0)


def test_momentum_overtakes_fedavg_and_overshoots() -> None:
    trainers = {name: quadratic_trainer(name, values, plain_sgd(0.5)) for name, values in TARGETS.items()}
    assert quadratic_start(FedAvgM(), 1.0, 2).memory["velocity/network.weight"].tolist() == [0.0]
    # From 1: D = 2, x = 3; then D = 1, v = 0.9 * 2 + 1, x = 5.8. FedAvg is at 4.
    assert settled(FedAvgM(), trainers, 2, start=1.0) == pytest.approx(5.8)
    assert settled(FedAvg(), trainers, 2, start=1.0) == pytest.approx(4.0)
