from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import (
    made_holdings,
    plain_sgd,
    quadratic_trainer,
    same,
    small_arm,
    small_experiment,
    uneven,
)
from rounds import arm_rounds, made_upload, play, quadratic_start, settled

from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.scaffold import Scaffold
from omnifm.core.records import ClientState, ServerState, Upload
from omnifm.core.tensors import strip_prefix
from omnifm.training.settings import TrainingSettings
from omnifm.utils.errors import ExperimentError

WEIGHT = "network.weight"


def value(state: ServerState) -> float:
    return state.shared[WEIGHT].item()


def control(state: ServerState | ClientState) -> float:
    return state.memory[f"control/{WEIGHT}"].item()


def test_two_rounds_by_hand() -> None:
    # Two steps of rate 0.25 from x = 8 on 0.5 w^2 (one sample) and (w - 12)^2 (three samples); eta = 2. c = c_i = 0.
    # a: gradients 8, 6; w = 6, 4.5; c_a = 3.5 / (2 * 0.25) = 7, their mean. b: -8, -4; w = 10, 11; c_b = -6.
    # x = 8 + 2 (-3.5 + 3) / 2 = 7.5, both counted once; c = (7 - 6) / 2 = 0.5.
    algorithm, clients = Scaffold(eta=2.0), dict[str, ClientState]()
    trainers = uneven(plain_sgd(0.25, epochs=2), samples=(1, 3))
    state = play(algorithm, quadratic_start(algorithm, 8.0, 2), trainers, clients)
    assert (value(state), control(state)) == (7.5, 0.5)
    assert [control(clients[name]) for name in "ab"] == [7.0, -6.0]
    # a adds c - c_a = -6.5: steps of 7.5 - 6.5 = 1 and 7.25 - 6.5 = 0.75; w = 7.25, 7.0625. Its plain gradients 7.5 and
    # 7.25 have the mean 7.375. b adds 6.5: -9 + 6.5 = -2.5, -7.75 + 6.5 = -1.25; w = 8.125, 8.4375; the mean of -9 and
    # -7.75 is -8.375. x = 7.5 + 2 (-0.4375 + 0.9375) / 2 = 8; c = 0.5 + (0.375 - 2.375) / 2 = -0.5.
    state = play(algorithm, state, trainers, clients)
    assert (value(state), control(state)) == (8.0, -0.5)
    assert [control(clients[name]) for name in "ab"] == [7.375, -8.375]


def test_the_server_by_hand_with_half_of_the_clients() -> None:
    algorithm = Scaffold(eta=0.5)
    state = algorithm.init({"w": torch.tensor([10.0])}, ["w"], made_holdings(4))
    uploads = [made_upload("a", 1, w=[2.0]), made_upload("b", 9, w=[6.0])]
    for upload, change in zip(uploads, (1.0, 5.0), strict=True):
        upload.extra["control/w"] = torch.tensor([change])
    # Two of four have answered: x = 10 + 0.5 (2 + 6) / 2, c = (1 + 5) / 4.
    state = algorithm.server_update(state, uploads)
    assert (state.shared["w"].item(), state.memory["control/w"].item()) == (12.0, 1.5)
    # Then only b, whoever else was asked: x = 12 + 0.5 * 6, c = 1.5 + 5 / 4.
    state = algorithm.server_update(state, uploads[1:])
    assert (state.shared["w"].item(), state.memory["control/w"].item()) == (15.0, 2.75)


def mean_gradient(settings: TrainingSettings, **changes: Any) -> tuple[float, int]:
    """Return c_i after a first round from 8 on ``0.5 w^2`` with four samples, and the steps taken."""
    trainer = quadratic_trainer("a", [0.0] * 4, settings, **changes)
    algorithm = Scaffold()
    broadcast = algorithm.broadcast(quadratic_start(algorithm, 8.0, 1))
    _, after = algorithm.client_update(broadcast, ClientState(), trainer)
    assert trainer.last_fit is not None
    return control(after), trainer.last_fit.steps


def test_steps_are_counted_and_not_epochs() -> None:
    # Two epochs of two batches. Four steps that halve w from 8: the gradients 8, 4, 2, 1 have the mean 3.75.
    assert mean_gradient(plain_sgd(0.5, epochs=2, batch_size=2)) == (3.75, 4)


def test_the_learning_rate_of_the_round_counts() -> None:
    # Half of the rounds are over, so the cosine has halved the rate of 1: the gradients are 8 and 4.
    found, steps = mean_gradient(plain_sgd(1.0, epochs=2, schedule="cosine"), progress=0.5)
    assert found == pytest.approx(6.0)
    assert steps == 2


def test_what_reaches_the_gradient_after_clipping_is_in_the_control_variate() -> None:
    # Clipped to 2, and with a weight decay of 0.5: steps of 2 + 4 and 2 + 3.25 at rate 0.25.
    found, _ = mean_gradient(plain_sgd(0.25, epochs=2, clip_norm=2.0, weight_decay=0.5))
    assert found == pytest.approx((6 + 5.25) / 2)


@pytest.mark.parametrize(("samples", "stalled"), [((1, 1), 6.9377), ((1, 3), 9.6527)])
def test_it_reaches_the_optimum_where_fedavg_stalls(samples: tuple[int, int], stalled: float) -> None:
    # FedAvg rests where the clients' ways cancel: in ten steps of rate 0.1 a client goes 1 - (1 - 0.1 k)^10 of its way,
    # so n_a 0.65132 (0 - x) + n_b 0.89263 (12 - x) = 0. The mean of the two losses is least at 8, whatever n is.
    trainers = uneven(plain_sgd(0.1, epochs=10), samples=samples)
    assert settled(Scaffold(), trainers, 20) == pytest.approx(8.0, abs=1e-4)
    assert settled(FedAvg(), trainers, 12) == pytest.approx(stalled, abs=1e-3)


@pytest.mark.parametrize("order", ["ab" * 20, "aabbab" * 6], ids=["in turn", "at will"])
def test_one_client_a_round_is_enough(order: str) -> None:
    trainers = uneven(plain_sgd(0.1, epochs=10), samples=(1, 3))
    algorithm, clients = Scaffold(), dict[str, ClientState]()
    state = quadratic_start(algorithm, -4.0, 2)
    for name in order:
        before, old = control(state), control(clients[name]) if name in clients else 0.0
        state = play(algorithm, state, {name: trainers[name]}, clients)
        # One of two clients: c goes half of the way of c_i.
        assert control(state) == pytest.approx(before + (control(clients[name]) - old) / 2, abs=1e-5)
    assert value(state) == pytest.approx(8.0, abs=1e-4)
    # There, each c_i is the client's gradient, 8 and 2 (8 - 12), and their mean is none.
    assert [control(clients[name]) for name in "ab"] == pytest.approx([8.0, -8.0], abs=1e-3)
    assert control(state) == pytest.approx(0.0, abs=1e-3)


def first_uploads(name: str, **changes: Any) -> list[Upload]:
    return next(iter(arm_rounds(small_arm(name, **changes), 1)))[1]


def test_the_first_round_is_fedavg_without_momentum_to_the_bit() -> None:
    settings = {"training": {"epochs": 2}}
    plain = first_uploads("fedavg", training={"epochs": 2, "momentum": 0.0})
    for one, other in zip(first_uploads("scaffold", **settings), plain, strict=True):
        assert same(one.change, other.change)
        assert (one.loss, one.samples) == (other.loss, other.samples)
    heavy = first_uploads("fedavg", **settings)
    assert not same(heavy[0].change, plain[0].change)


def test_c_is_the_mean_over_all_clients() -> None:
    arm = small_arm("scaffold")
    state, clients = arm.start().server, dict[str, ClientState]()
    for names in (["CT-1"], ["CT-2", "MRI"], ["CT-1", "MRI"]):
        broadcast, uploads = arm.algorithm.broadcast(state), []
        for name in names:
            upload, clients[name] = arm.runtime.update(broadcast, name, clients.get(name, ClientState()))
            uploads.append(upload)
        state = arm.algorithm.server_update(state, uploads)
        for name, c in strip_prefix("control", state.memory).items():
            total = torch.stack([strip_prefix("control", client.memory)[name] for client in clients.values()]).sum(0)
            torch.testing.assert_close(c, total / 3, rtol=1e-4, atol=1e-5)


def test_the_control_variate_stays_and_its_change_travels() -> None:
    arm = small_arm("scaffold")
    names = {f"control/{name}" for name, _ in arm.runtime.model.named_parameters()}
    state, client = arm.start().server, ClientState()
    for _ in range(2):
        broadcast = arm.algorithm.broadcast(state)
        upload, after = arm.runtime.update(broadcast, "MRI", client)
        assert upload.extra.keys() == after.memory.keys() == broadcast.extra.keys() == names
        for name in names:
            before = client.memory.get(name, torch.zeros(1))
            torch.testing.assert_close(upload.extra[name], after.memory[name] - before)
        state, client = arm.algorithm.server_update(state, [upload]), after
    assert not any(torch.equal(upload.extra[name], client.memory[name]) for name in names)


def test_statistics_and_personal_parts_have_no_control_variate() -> None:
    arm = small_arm("scaffold", federation={"personal": ["norm"]})
    parameters = {name for name, _ in arm.runtime.model.named_parameters()}
    expected = {f"control/{name}" for name in parameters - arm.runtime.personal}
    assert parameters & arm.runtime.personal
    broadcast = arm.algorithm.broadcast(arm.start().server)
    upload, client = arm.runtime.update(broadcast, "CT-1", ClientState())
    assert broadcast.extra.keys() == upload.extra.keys() == client.memory.keys() == expected
    assert upload.change.keys() == arm.runtime.initial.keys() - arm.runtime.personal
    assert client.personal.keys() == arm.runtime.personal
    shared = small_arm("scaffold").start().server
    assert {name.removeprefix("control/") for name in shared.memory} == parameters
    assert any("running_mean" in name for name in shared.shared)


def test_it_trains_without_momentum() -> None:
    for arm in (small_arm("scaffold"), small_arm("omnifm", omnifm={"base": "scaffold"})):
        assert arm.runtime.training.momentum == 0
        assert arm.experiment.training.momentum == 0.9
        assert arm.runtime.training.learning_rate == arm.experiment.training.learning_rate
    assert small_arm("fedprox").runtime.training.momentum == 0.9


@pytest.mark.parametrize(
    "settings", [{"algorithm": "scaffold"}, {"algorithm": "omnifm", "omnifm": {"base": "scaffold"}}]
)
def test_it_refuses_any_optimiser_but_sgd(settings: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match=r"training\.optimizer = 'adamw': .* plain SGD only\. Set .* = 'sgd'"):
        small_arm(**settings, training={"optimizer": "adamw"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eta": 0}, r"scaffold\.eta: .*above 0 \(given: 0.*\)"),
        ({"eta": -0.5}, r"scaffold\.eta: .*above 0 \(given: -0\.5\)"),
        ({"alpha": 0.1}, r"Unknown key 'scaffold\.alpha'\. Known: eta\."),
        ({"beta": 0.1}, r"Unknown key 'scaffold\.beta'\. Did you mean 'eta'\?"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        small_experiment("scaffold", scaffold=settings)
