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
from omnifm.algorithms.feddyn import FedDyn
from omnifm.core.records import ClientState, ServerState, Upload
from omnifm.core.tensors import strip_prefix
from omnifm.utils.errors import ExperimentError

WEIGHT = "network.weight"


def value(state: ServerState) -> float:
    return state.shared[WEIGHT].item()


def bend(state: ServerState | ClientState) -> float:
    return state.memory[f"h/{WEIGHT}"].item()


def test_two_rounds_by_hand() -> None:
    # Two steps of rate 0.25 from x = 8 on 0.5 w^2 (one sample) and (w - 12)^2 (three); alpha = 0.5, h = h_i = 0.
    # a: gradients 8 and 6 + 0.5 (6 - 8) = 5; w = 6, 4.75; h_a = -0.5 * -3.25 = 1.625.
    # b: gradients -8 and -4 + 0.5 (10 - 8) = -3; w = 10, 10.75; h_b = -0.5 * 2.75 = -1.375.
    # h = -(0.5 / 2) (-3.25 + 2.75) = 0.125; x = (4.75 + 10.75) / 2 - 0.125 / 0.5 = 7.5, both counted once.
    algorithm, clients = FedDyn(alpha=0.5), dict[str, ClientState]()
    trainers = uneven(plain_sgd(0.25, epochs=2), samples=(1, 3))
    state = play(algorithm, quadratic_start(algorithm, 8.0, 2), trainers, clients)
    assert (value(state), bend(state)) == (7.5, 0.125)
    assert [bend(clients[name]) for name in "ab"] == [1.625, -1.375]
    # a: 7.5 - 1.625 = 5.875; w = 6.03125; 6.03125 - 1.625 + 0.5 (6.03125 - 7.5) = 3.671875; w = 5.11328125, which is
    # x - 2.38671875. b: -9 + 1.375 = -7.625; w = 9.40625; -5.1875 + 1.375 + 0.5 * 1.90625 = -2.859375;
    # w = 10.12109375, which is x + 2.62109375.
    # h = 0.125 - 0.25 * 0.234375; x = (5.11328125 + 10.12109375) / 2 - 2 h.
    state = play(algorithm, state, trainers, clients)
    assert [bend(clients[name]) for name in "ab"] == [1.625 + 0.5 * 2.38671875, -1.375 - 0.5 * 2.62109375]
    assert bend(state) == 0.06640625
    assert value(state) == 7.6171875 - 2 * 0.06640625


def test_the_server_by_hand_with_half_of_the_clients() -> None:
    algorithm = FedDyn(alpha=0.5)
    state = algorithm.init({"w": torch.tensor([10.0])}, ["w"], made_holdings(4))
    uploads = [made_upload("a", 1, w=[2.0]), made_upload("b", 9, w=[6.0])]
    # Two of four have answered: h = -(0.5 / 4) (2 + 6) = -1; x = (12 + 16) / 2 + 1 / 0.5.
    state = algorithm.server_update(state, uploads)
    assert (state.shared["w"].item(), state.memory["h/w"].item()) == (16.0, -1.0)
    # Then only b, whoever else was asked: h = -1 - (0.5 / 4) 6 = -1.75; x = 22 + 1.75 / 0.5.
    state = algorithm.server_update(state, uploads[1:])
    assert (state.shared["w"].item(), state.memory["h/w"].item()) == (25.5, -1.75)


def test_the_pull_grows_with_the_distance() -> None:
    # Trained to the end in a first round, a client stands where w - target + alpha (w - x) = 0, from x = 0 at
    # target / (1 + alpha) = target / 3; alone, it then takes -h / alpha, its way once more.
    for target in (3.0, 300.0):
        trainers = {"a": quadratic_trainer("a", [target], plain_sgd(0.2, epochs=60))}
        assert settled(FedDyn(alpha=2.0), trainers, 1, start=0.0) == pytest.approx(2 * target / 3)


@pytest.mark.parametrize(("alpha", "samples", "stalled"), [(0.5, (1, 1), 6.9377), (2.0, (1, 3), 9.6527)])
def test_it_reaches_the_optimum_where_fedavg_stalls(alpha: float, samples: tuple[int, int], stalled: float) -> None:
    # FedAvg rests where the clients' ways cancel: in ten steps of rate 0.1 a client goes 1 - (1 - 0.1 k)^10 of its way,
    # so n_a 0.65132 (0 - x) + n_b 0.89263 (12 - x) = 0. The mean of the two losses is least at 8, whatever n is.
    trainers = uneven(plain_sgd(0.1, epochs=10), samples=samples)
    assert settled(FedDyn(alpha), trainers, 40) == pytest.approx(8.0, abs=1e-4)
    assert settled(FedAvg(), trainers, 12) == pytest.approx(stalled, abs=1e-3)


@pytest.mark.parametrize("order", ["ab" * 20, "aabbab" * 8], ids=["in turn", "at will"])
def test_one_client_a_round_is_enough(order: str) -> None:
    trainers = uneven(plain_sgd(0.1, epochs=10), samples=(1, 3))
    algorithm, clients = FedDyn(alpha=1.0), dict[str, ClientState]()
    state = quadratic_start(algorithm, -4.0, 2)
    for name in order:
        state = play(algorithm, state, {name: trainers[name]}, clients)
    assert value(state) == pytest.approx(8.0, abs=1e-4)
    # There, each h_i is the client's gradient, 8 and 2 (8 - 12), and their mean is none.
    assert [bend(clients[name]) for name in "ab"] == pytest.approx([8.0, -8.0], abs=1e-3)
    assert bend(state) == pytest.approx(0.0, abs=1e-3)


def test_who_drops_out_does_not_shrink_the_model() -> None:
    # Both are at rest at 10; one of four, then three of them do not answer, and the model rests.
    trainers = {name: quadratic_trainer(name, [10.0], plain_sgd(0.1, epochs=3)) for name in "abcd"}
    algorithm, clients = FedDyn(alpha=0.5), dict[str, ClientState]()
    state = quadratic_start(algorithm, 10.0, 4)
    for answered in ("abc", "d", "bd"):
        state = play(algorithm, state, {name: trainers[name] for name in answered}, clients)
        assert (value(state), bend(state)) == (10.0, 0.0)


def test_a_small_model_is_as_good_with_dropouts() -> None:
    arm = small_arm("feddyn", feddyn={"alpha": 0.1})
    *_, (_, _, state) = arm_rounds(arm, 4, {2: ["CT-1"], 3: ["CT-2", "MRI"]})
    for name, p in arm.runtime.model.named_parameters():
        if p.dim() > 1:
            assert state.shared[name].norm() > 0.8 * arm.runtime.initial[name].norm()


def first_uploads(name: str, **changes: Any) -> list[Upload]:
    return next(iter(arm_rounds(small_arm(name, **changes), 1)))[1]


def test_one_step_of_the_first_round_is_fedavg_to_the_bit() -> None:
    # At the first step w = x, and h_i = 0.
    one = first_uploads("feddyn", training={"batch_size": 64})
    for upload, plain in zip(one, first_uploads("fedavg", training={"batch_size": 64}), strict=True):
        assert same(upload.change, plain.change)
        assert (upload.loss, upload.samples, upload.extra) == (plain.loss, plain.samples, {})
    several = [first_uploads(name, training={"batch_size": 8})[0].change for name in ("feddyn", "fedavg")]
    assert not same(*several)


def test_h_is_the_mean_over_all_clients() -> None:
    arm = small_arm("feddyn", feddyn={"alpha": 0.5})
    state, clients = arm.start().server, dict[str, ClientState]()
    for names in (["CT-1"], ["CT-2", "MRI"], ["CT-1", "MRI"]):
        broadcast, uploads = arm.algorithm.broadcast(state), []
        for name in names:
            upload, clients[name] = arm.runtime.update(broadcast, name, clients.get(name, ClientState()))
            uploads.append(upload)
        state = arm.algorithm.server_update(state, uploads)
        for name, h in strip_prefix("h", state.memory).items():
            total = torch.stack([strip_prefix("h", client.memory)[name] for client in clients.values()]).sum(0)
            torch.testing.assert_close(h, total / 3, rtol=1e-4, atol=1e-6)


def test_h_stays_on_both_sides() -> None:
    arm = small_arm("feddyn")
    state, client = arm.start().server, ClientState()
    for _ in range(2):
        broadcast = arm.algorithm.broadcast(state)
        assert broadcast.extra == {}
        upload, client = arm.runtime.update(broadcast, "MRI", client)
        assert upload.extra == {}
        assert upload.change.keys() == state.shared.keys()
        state = arm.algorithm.server_update(state, [upload])
    assert client.memory.keys() == state.memory.keys() == {f"h/{n}" for n, _ in arm.runtime.model.named_parameters()}


def test_statistics_and_personal_parts_are_not_bent() -> None:
    arm = small_arm("feddyn", federation={"personal": ["norm"]})
    parameters = {name for name, _ in arm.runtime.model.named_parameters()}
    assert parameters & arm.runtime.personal
    expected = {f"h/{name}" for name in parameters - arm.runtime.personal}
    upload, client = arm.runtime.update(arm.algorithm.broadcast(arm.start().server), "CT-1", ClientState())
    assert arm.start().server.memory.keys() == client.memory.keys() == expected
    assert upload.change.keys() == arm.runtime.initial.keys() - arm.runtime.personal
    assert client.personal.keys() == arm.runtime.personal
    shared = small_arm("feddyn").start().server
    assert {name.removeprefix("h/") for name in shared.memory} == parameters
    assert any("running_mean" in name for name in shared.shared)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0}, r"feddyn\.alpha: .*above 0 \(given: 0.*\)"),
        ({"alpha": -0.1}, r"feddyn\.alpha: .*above 0 \(given: -0\.1\)"),
        ({"mu": 0.1}, r"Unknown key 'feddyn\.mu'\. Known: alpha\."),
        ({"alfa": 0.1}, r"Unknown key 'feddyn\.alfa'\. Did you mean 'alpha'\?"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        small_experiment("feddyn", feddyn=settings)
