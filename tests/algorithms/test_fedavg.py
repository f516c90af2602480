from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from helpers import made_holdings, plain_sgd, quadratic_trainer

from omnifm.algorithms.fedavg import FedAvg
from omnifm.core.records import ClientState, ServerState, Upload
from omnifm.training.trainer import Trainer

TARGETS = {"a": [2.0], "b": [5.0, 7.0, 6.0]}


def start(weight: float) -> ServerState:
    shared = {"network.weight": torch.tensor([weight]), "network.head.bias": torch.zeros(1)}
    return FedAvg().init(shared, ["network.weight"], made_holdings(len(TARGETS)))


def play(state: ServerState, trainers: Mapping[str, Trainer]) -> tuple[ServerState, list[Upload]]:
    algorithm = FedAvg()
    broadcast = algorithm.broadcast(state)
    uploads = [algorithm.client_update(broadcast, ClientState(), trainer)[0] for trainer in trainers.values()]
    return algorithm.server_update(state, uploads), uploads


def test_one_round_by_hand() -> None:
    trainers = {name: quadratic_trainer(name, values, plain_sgd(0.1)) for name, values in TARGETS.items()}
    state, uploads = play(start(1.0), trainers)
    # One step each from 1: a goes 0.1 (2 - 1), b goes 0.1 (6 - 1); their weights are 1/4 and 3/4.
    assert [u.change["network.weight"].item() for u in uploads] == pytest.approx([0.1, 0.5])
    assert state.shared["network.weight"].item() == pytest.approx(1 + 0.25 * 0.1 + 0.75 * 0.5)
    assert state.round == 1
    assert [(u.client, u.samples) for u in uploads] == [("a", 1), ("b", 3)]
    # The losses before the step: 1/2 for a; for b the mean of 16, 36 and 25, halved.
    assert [u.loss for u in uploads] == pytest.approx([0.5, 77 / 6])


def test_local_epochs_are_steps_on_the_own_data() -> None:
    trainers = {"a": quadratic_trainer("a", [3.0], plain_sgd(0.5, epochs=3))}
    state, _ = play(start(1.0), trainers)
    # Each step halves the way to 3.
    assert state.shared["network.weight"].item() == pytest.approx(3 - 2 / 8)


def test_reaches_the_mean_of_all_samples() -> None:
    trainers = {name: quadratic_trainer(name, values, plain_sgd(0.5)) for name, values in TARGETS.items()}
    state = start(-4.0)
    for _ in range(30):
        state, _ = play(state, trainers)
    assert state.shared["network.weight"].item() == pytest.approx(20 / 4)


def test_personal_tensors_stay_and_come_back() -> None:
    trainer = quadratic_trainer("a", [2.0], personal=frozenset({"network.head.bias"}))
    algorithm = FedAvg()
    broadcast = algorithm.broadcast(
        algorithm.init({"network.weight": torch.zeros(1)}, ["network.weight"], made_holdings(1))
    )
    before = ClientState({"network.head.bias": torch.tensor([1.5])}, {"m": torch.ones(1)}, {"n": 1})
    upload, after = algorithm.client_update(broadcast, before, trainer)
    # The gradient is (weight + bias) - 2 = -0.5.
    assert upload.change.keys() == {"network.weight"}
    assert upload.change["network.weight"].item() == pytest.approx(0.05)
    assert after.personal["network.head.bias"].item() == 1.5
    assert (after.memory, after.notes) == (before.memory, before.notes)


def test_memory_and_notes_of_the_server_stay() -> None:
    state = ServerState({"w": torch.zeros(1)}, 3, {"m": torch.ones(1)}, {"n": 1})
    after = FedAvg().server_update(state, [])
    assert (after.round, after.memory, after.notes) == (4, state.memory, state.notes)
    assert after.shared["w"].item() == 0
