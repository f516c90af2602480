from __future__ import annotations

from typing import Any

import pytest
from helpers import (
    plain_sgd,
    quadratic_trainer,
    same,
    small_arm,
    small_experiment,
    uneven,
)
from made_tasks import own_trainer, played
from rounds import arm_rounds, play, quadratic_start, settled

from omnifm.algorithms.ditto import Ditto
from omnifm.algorithms.fedavg import FedAvg
from omnifm.core.records import ClientState, ServerState
from omnifm.utils.errors import ExperimentError

WEIGHT = "network.weight"


def value(state: ServerState) -> float:
    return state.shared[WEIGHT].item()


def own(state: ClientState) -> float:
    return state.memory[WEIGHT].item()


def test_two_rounds_by_hand() -> None:
    # Two steps of rate 0.25 from x = 8 on 0.5 w^2 (one sample) and (w - 12)^2 (three samples); lam = 0.5.
    # Common: a to 6, 4.5 and b to 10, 11; x = 8 + (-3.5 + 3 * 3) / 4 = 9.375. Own, from v = x = 8:
    # a: 8, v = 6; 6 + 0.5 (6 - 8) = 5, v = 4.75. b: -8, v = 10; -4 + 0.5 (10 - 8) = -3, v = 10.75.
    algorithm, clients = Ditto(lam=0.5), dict[str, ClientState]()
    trainers = uneven(plain_sgd(0.25, epochs=2), samples=(1, 3))
    state = play(algorithm, quadratic_start(algorithm, 8.0, 2), trainers, clients)
    assert value(state) == 9.375
    assert [own(clients[name]) for name in "ab"] == [4.75, 10.75]
    # Common, from 9.375: a goes (1 - 0.75^2) of its way, -4.1015625, b (1 - 0.5^2), 1.96875. Own, from where v was:
    # a: 4.75 + 0.5 (4.75 - 9.375) = 2.4375, v = 4.140625; 4.140625 + 0.5 (4.140625 - 9.375) = 1.5234375.
    # b: -2.5 + 0.5 (10.75 - 9.375) = -1.8125, v = 11.203125; -1.59375 + 0.5 * 1.828125 = -0.6796875.
    state = play(algorithm, state, trainers, clients)
    assert value(state) == 9.375 + (-4.1015625 + 3 * 1.96875) / 4
    assert [own(clients[name]) for name in "ab"] == [4.140625 - 1.5234375 / 4, 11.203125 + 0.6796875 / 4]


# v rests where curvature (v - target) + lam (v - x) = 0: at (curvature target + lam x) / (curvature + lam), for the x
# that was received in this round. The locally trained model would be at the target, and so would v if drawn to it.
@pytest.mark.parametrize("lam", [0.0, 0.1, 2.0])
def test_the_own_model_rests_between_the_target_and_x(lam: float) -> None:
    algorithm, clients = Ditto(lam), dict[str, ClientState]()
    trainers = uneven(plain_sgd(0.2, epochs=80), samples=(1, 3))
    state = quadratic_start(algorithm, 4.0, 2)
    for x in (4.0, 9.0):  # 9 is the mean of the targets 0 and 12, three samples to one
        assert value(state) == pytest.approx(x)
        state = play(algorithm, state, trainers, clients)
        assert own(clients["a"]) == pytest.approx(lam * x / (1 + lam), abs=1e-4)
        assert own(clients["b"]) == pytest.approx((2 * 12 + lam * x) / (2 + lam), abs=1e-4)


def test_the_common_model_stalls_as_fedavg_does() -> None:
    trainers = uneven(plain_sgd(0.1, epochs=10))
    found = settled(Ditto(), trainers, 12)
    assert found == settled(FedAvg(), trainers, 12)
    # 0.65132 (0 - x) + 0.89263 (12 - x) = 0, as in FedProx's test; the mean loss is least at 8.
    assert found == pytest.approx(6.9377, abs=1e-3)


@pytest.mark.parametrize("personal", [[], ["norm"]])
def test_without_lam_the_own_model_is_trained_alone_to_the_bit(personal: list[str]) -> None:
    federation = {"rounds": 3}
    ditto = played(small_arm("ditto", ditto={"lam": 0}, federation={**federation, "personal": personal}))
    alone = played(small_arm("local", federation=federation))
    assert ditto.clients.keys() == alone.clients.keys()
    for name, state in ditto.clients.items():
        assert same(state.memory, alone.clients[name].personal)
    tied = played(small_arm("ditto", federation=federation))
    assert not same(tied.clients["MRI"].memory, ditto.clients["MRI"].memory)


def test_as_many_steps_on_both_models() -> None:
    trainer = quadratic_trainer("a", [0.0] * 4, plain_sgd(0.5, epochs=2, batch_size=2))
    algorithm, clients = Ditto(lam=0.0), dict[str, ClientState]()
    state = play(algorithm, quadratic_start(algorithm, 8.0, 1), {"a": trainer}, clients)
    # Two epochs of two batches: four steps that halve the way to 0, of both.
    assert (value(state), own(clients["a"])) == (0.5, 0.5)
    assert trainer.last_fit is not None
    assert trainer.last_fit.steps == 4


def test_the_upload_is_fedavgs_and_has_nothing_of_the_own_model() -> None:
    ditto, fedavg = (arm_rounds(small_arm(name), 2) for name in ("ditto", "fedavg"))
    for (_, uploads, after), (_, plain, _) in zip(ditto, fedavg, strict=True):
        for upload, other in zip(uploads, plain, strict=True):
            assert same(upload.pack()[0], other.pack()[0])
            assert upload.pack()[1] == other.pack()[1]
        assert after.memory == {}


def test_the_own_model_is_whole_and_stays() -> None:
    arm = small_arm("ditto", federation={"personal": ["norm"]})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    upload, state = arm.runtime.update(broadcast, "CT-1", ClientState())
    assert state.memory.keys() == arm.runtime.initial.keys()
    assert state.personal.keys() == arm.runtime.personal
    # The norms at home are two: the common model's and the own model's.
    assert not same({name: state.memory[name] for name in state.personal}, state.personal)
    assert upload.change.keys() == arm.runtime.initial.keys() - arm.runtime.personal
    assert (upload.extra, broadcast.extra) == ({}, {})


def test_the_clients_model_is_its_own_at_both_evaluation_points() -> None:
    arm = small_arm("ditto")
    first = arm.algorithm.broadcast(arm.start().server)
    upload, state = arm.runtime.update(first, "CT-1", ClientState())
    second = arm.algorithm.broadcast(arm.algorithm.server_update(arm.start().server, [upload]))
    trainer = own_trainer(arm, "CT-1", 2)
    arm.algorithm.receive(second, state, trainer)
    assert same(trainer.tensors(), state.memory)
    _, after = arm.algorithm.client_update(second, state, trainer)
    assert same(trainer.tensors(), after.memory)
    assert not same(after.memory, state.memory)
    # Who comes new has x.
    arm.algorithm.receive(second, ClientState(), trainer)
    assert same(trainer.tensors(), second.shared)


def test_who_did_not_take_part_keeps_its_own_model() -> None:
    trainers = uneven(plain_sgd(0.25))
    algorithm, clients = Ditto(), dict[str, ClientState]()
    state = play(algorithm, quadratic_start(algorithm, 8.0, 2), trainers, clients)
    kept = clients["a"]
    for _ in range(3):
        state = play(algorithm, state, {"b": trainers["b"]}, clients)
    assert clients["a"] is kept
    x = value(state)
    play(algorithm, state, {"a": trainers["a"]}, clients)
    # One step from v = 8 - 0.25 * 8 = 6, drawn to the x of now.
    assert own(kept) == 6.0
    assert own(clients["a"]) == pytest.approx(6 - 0.25 * (6 + (6 - x)))


def test_by_default_lam_is_one() -> None:
    assert small_arm("ditto").algorithm == Ditto(lam=1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lam": -1}, r"ditto\.lam: .*0 or more \(given: -1.*\)"),
        ({"mu": 1.0}, r"Unknown key 'ditto\.mu'\. Known: lam\."),
        ({"lambda": 1.0}, r"Unknown key 'ditto\.lambda'\. Did you mean 'lam'\?"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        small_experiment("ditto", ditto=settings)
