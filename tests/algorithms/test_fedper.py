from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import made_holdings, plain_sgd, same, small_arm
from made_tasks import all_moved, dense_rounds, line_trainer, own_trainer, played, through_bytes

from omnifm.algorithms.fedper import FedPer
from omnifm.core.records import ClientState
from omnifm.utils.errors import ExperimentError

BODY, HEAD = "network.weight", "network.head.weight"
HEADS = {"network.head.weight", "network.head.bias"}


def test_two_rounds_by_hand() -> None:
    algorithm = FedPer()
    state = algorithm.init({BODY: torch.tensor([1.0])}, [BODY], made_holdings(2))
    trainers = {"a": line_trainer("a", [3.0]), "b": line_trainer("b", [0.0] * 3)}
    kept = {name: ClientState({HEAD: torch.ones(1, 1)}) for name in trainers}

    def play_round() -> None:
        nonlocal state
        broadcast, uploads = algorithm.broadcast(state), []
        for name, trainer in trainers.items():
            upload, kept[name] = algorithm.client_update(broadcast, kept[name], trainer)
            assert upload.change.keys() == {BODY}
            uploads.append(upload)
        state = algorithm.server_update(state, uploads)

    play_round()
    # 0.5 (h w - t)^2 from h = w = 1 has the gradients (1 - t) for both: a goes to 1.2, b to 0.9, each in both.
    # The body is averaged with the weights 1/4 and 3/4, the heads are not.
    assert state.shared[BODY].item() == pytest.approx(0.25 * 1.2 + 0.75 * 0.9)
    assert {name: own.personal[HEAD].item() for name, own in kept.items()} == pytest.approx({"a": 1.2, "b": 0.9})
    play_round()
    # From w = 0.975. a: h w - 3 = -1.83, so w goes 0.183 * 1.2 up, h 0.183 * 0.975.
    # b: h w = 0.8775, so w goes 0.08775 * 0.9 down, h 0.08775 * 0.975.
    assert state.shared[BODY].item() == pytest.approx(0.975 + 0.25 * 0.2196 - 0.75 * 0.078975)
    heads = {"a": 1.2 + 0.178425, "b": 0.9 - 0.08555625}
    assert {name: own.personal[HEAD].item() for name, own in kept.items()} == pytest.approx(heads)


@pytest.mark.parametrize("participation", [1.0, 0.34])
def test_with_nothing_personal_it_is_fedavg(participation: float) -> None:
    changes: dict[str, Any] = {"federation": {"rounds": 3, "participation": participation}}
    arms = [small_arm("fedper", fedper={"personal": []}, **changes), small_arm("fedavg", **changes)]
    one, other = (played(arm).server.shared for arm in arms)
    assert same(one, other)
    assert not same(one, arms[1].start().server.shared)


@pytest.mark.parametrize("participation", [1.0, 0.34])
def test_it_is_fedavg_with_a_personal_head(participation: float) -> None:
    settings = {"rounds": 3, "participation": participation}
    one = played(small_arm("fedper", federation=settings))
    other = played(small_arm("fedavg", federation={**settings, "personal": ["head"]}))
    assert same(one.server.shared, other.server.shared)
    assert one.clients.keys() == other.clients.keys()
    for name, state in one.clients.items():
        assert state.personal.keys() == HEADS
        assert same(state.personal, other.clients[name].personal)


def test_the_head_never_leaves_and_comes_back() -> None:
    arm = small_arm("fedper")
    first = arm.algorithm.broadcast(arm.start().server)
    upload, state = arm.runtime.update(first, "CT-1", ClientState())
    assert upload.change.keys() == first.shared.keys() == arm.runtime.initial.keys() - HEADS
    assert not upload.extra
    assert state.personal.keys() == HEADS
    assert not any(torch.equal(value, arm.runtime.initial[name]) for name, value in state.personal.items())
    second = arm.algorithm.broadcast(arm.algorithm.server_update(arm.start().server, [upload]))
    one, other = (arm.runtime.update(second, "CT-1", s) for s in (state, through_bytes(state)))
    assert same(one[0].change, other[0].change)
    assert same(one[1].personal, other[1].personal)
    # A client that comes new starts from the first head and so goes elsewhere.
    assert not same(one[0].change, arm.runtime.update(second, "CT-1", ClientState())[0].change)


def test_who_did_not_take_part_keeps_its_head() -> None:
    arm = small_arm("fedper")
    start = arm.start().server
    upload, state = arm.runtime.update(arm.algorithm.broadcast(start), "MRI", ClientState())
    server = arm.algorithm.server_update(start, [upload])
    for _ in range(2):
        server = arm.algorithm.server_update(
            server, [arm.runtime.update(arm.algorithm.broadcast(server), "CT-1", ClientState())[0]]
        )
    trainer = own_trainer(arm, "MRI", 4)
    arm.algorithm.receive(arm.algorithm.broadcast(server), state, trainer)
    assert same(trainer.tensors(), {**server.shared, **state.personal})


def test_other_parts_may_be_named() -> None:
    arm = small_arm("fedper", fedper={"personal": ["backbone", "head"]})
    assert arm.start().server.shared == {}
    with pytest.raises(ExperimentError, match="No part of the network is called 'heads'"):
        small_arm("fedper", fedper={"personal": ["heads"]})


def test_a_dense_task() -> None:
    first, last = dense_rounds(FedPer())
    assert all_moved(first, last)
    assert last.clients["a"].personal.keys() == HEADS


def test_a_shared_optimiser_setting_reaches_body_and_head() -> None:
    trainer = line_trainer("a", [3.0], plain_sgd(0.1, weight_decay=1.0))
    state = FedPer().init({BODY: torch.ones(1)}, [BODY], made_holdings(1))
    _, kept = FedPer().client_update(FedPer().broadcast(state), ClientState({HEAD: torch.ones(1, 1)}), trainer)
    # The gradient is -2 + 1 for both.
    assert kept.personal[HEAD].item() == pytest.approx(1.1)
    assert trainer.model.state_dict()[BODY].item() == pytest.approx(1.1)
