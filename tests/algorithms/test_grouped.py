from __future__ import annotations

import sys

import pytest
import torch
from helpers import federated, packed, quadratic_trainer, same, same_checkpoint, small_arm

from omnifm.algorithms.grouped import Grouped
from omnifm.core.records import ClientState, ServerState
from omnifm.core.tensors import strip_prefix
from omnifm.data.client_stats import ClientStats
from omnifm.engines.in_process import InProcess

WEIGHT = "network.weight"
GROUPS = {"a": "CT", "b": "CT", "c": "MR", "d": "MR", "odd": "PET"}
TARGETS = {"a": [8.0], "b": [0.0] * 3, "c": [-4.0], "d": [-4.0], "odd": [2.0]}


def trained_by_hand(rounds: int) -> tuple[ServerState, dict[str, ClientState]]:
    """Play rounds of ``0.5 (weight - target)^2`` from 0, with steps of 0.1."""
    algorithm, clients = Grouped(), dict.fromkeys(GROUPS, ClientState())
    start = {WEIGHT: torch.zeros(1), "network.head.bias": torch.zeros(1)}
    state = algorithm.init(
        start, [WEIGHT], [ClientStats(n, group, len(TARGETS[n]), 2, 2) for n, group in GROUPS.items()]
    )
    for _ in range(rounds):
        broadcast, uploads = algorithm.broadcast(state), []
        for name in GROUPS:
            sent = broadcast.with_message(algorithm.message(state, name))
            upload, clients[name] = algorithm.client_update(sent, clients[name], quadratic_trainer(name, TARGETS[name]))
            algorithm.check(upload, sent)
            uploads.append(upload)
        state = algorithm.server_update(state, uploads)
    return state, clients


def group_weights(state: ServerState) -> list[float]:
    return [strip_prefix(f"circle.{number}", state.memory)[WEIGHT].item() for number in (0, 1)]


def test_two_rounds_by_hand() -> None:
    state, clients = trained_by_hand(1)
    # a goes a tenth of its way to 8, b stays at 0; they count by their samples, 1 and 3. c and d agree.
    assert group_weights(state) == pytest.approx([0.8 / 4, -0.4])
    assert state.shared == {}
    state, clients = trained_by_hand(2)
    # From 0.2, a goes up by 0.78, b down by 0.02. The odd one goes on from 0.2, where it was.
    assert group_weights(state) == pytest.approx([0.2 + (0.78 - 3 * 0.02) / 4, -0.4 - 0.36])
    assert clients["odd"].personal[WEIGHT].item() == pytest.approx(0.2 + 0.18)
    assert state.round == 2


def test_who_is_alone_is_sent_nothing_and_sends_nothing() -> None:
    arm = small_arm("grouped")
    server = arm.start().server
    for name, travels in {"CT-1": True, "CT-2": True, "MRI": False}.items():
        sent = arm.algorithm.broadcast(server).with_message(arm.algorithm.message(server, name))
        upload, _ = arm.runtime.update(sent, name, ClientState())
        assert (bool(sent.extra), bool(upload.change)) == (travels, travels)


def test_one_group_of_all_is_fedavg() -> None:
    arm, fedavg = small_arm("grouped"), small_arm("fedavg")
    stats = [ClientStats(name, "all", 1, 1, 1) for name in arm.participants]
    server, expected = arm.algorithm.init(fedavg.start().server.shared, (), stats), fedavg.start().server
    for name in ("CT-1", "MRI", "CT-2"):
        sent = arm.algorithm.broadcast(server).with_message(arm.algorithm.message(server, name))
        server = arm.algorithm.server_update(server, [arm.runtime.update(sent, name, ClientState())[0]])
        plain = fedavg.algorithm.broadcast(expected)
        expected = fedavg.algorithm.server_update(expected, [fedavg.runtime.update(plain, name, ClientState())[0]])
    assert same(strip_prefix("circle.0", server.memory), expected.shared)


def test_what_is_personal_does_not_travel() -> None:
    arm = small_arm("grouped", classification={"width": 8, "norm": "batch"}, federation={"personal": ["norm"]})
    last = federated(arm)[-1]
    held = strip_prefix("circle.0", last.server.memory).keys()
    assert arm.runtime.personal
    assert held == arm.runtime.initial.keys() - arm.runtime.personal
    assert all(state.personal.keys() == arm.runtime.initial.keys() for state in last.clients.values())


def test_what_was_not_asked_for_is_refused() -> None:
    arm = small_arm("grouped")
    server = arm.start().server
    sent = arm.algorithm.broadcast(server).with_message(arm.algorithm.message(server, "CT-1"))
    upload, _ = arm.runtime.update(sent, "CT-1", ClientState())
    with pytest.raises(ValueError, match="is not expected"):
        arm.algorithm.check(upload, arm.algorithm.broadcast(server))


@pytest.mark.skipif(sys.platform != "linux", reason="workers need fork")
@pytest.mark.parametrize("acceptance", ["off", "on"])
def test_the_bits_are_those_of_two_workers_and_of_a_resumed_run(acceptance: str) -> None:
    arm = small_arm("grouped", federation={"rounds": 3, "participation": 0.67, "acceptance": acceptance})
    checkpoints = federated(arm)
    with InProcess(arm.runtime, 2) as engine:
        assert same_checkpoint(packed(arm.federation(engine).run(arm.start())), packed(checkpoints[-1]))
    assert same_checkpoint(packed(federated(arm, packed(checkpoints[0]))[-1]), packed(checkpoints[-1]))
