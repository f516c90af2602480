"""What one client alone is sent reaches it and no other, on one worker, on two and over letters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import same_checkpoint, same_record, small_arm
from messenger import Messenger, messenger_known

from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import Broadcast, Upload
from omnifm.engines.in_process import InProcess
from omnifm.engines.process_pool import ProcessPoolEngine
from omnifm.runs.arm import Arm

forks = pytest.mark.skipif(sys.platform != "linux", reason="workers need fork")


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with messenger_known():
        yield


def uploads(arm: Arm, workers: int, messages: bool = True) -> list[Upload]:
    server = arm.start().server
    sent = {name: arm.algorithm.message(server, name) for name in arm.participants if messages}
    with InProcess(arm.runtime, workers) as engine:
        return list(engine.update(arm.algorithm.broadcast(server), arm.participants, sent))


def run(arm: Arm, workers: int) -> Checkpoint:
    with InProcess(arm.runtime, workers) as engine:
        return arm.federation(engine).run(arm.start())


@forks
@pytest.mark.parametrize("base", ["", "omnifm"])
def test_one_worker_and_two_give_the_same_bits(base: str) -> None:
    arm = small_arm(base or "messenger", omnifm={"base": "messenger", "variant": "paper"})
    one, two = uploads(arm, 1), uploads(arm, 2)
    assert all(same_record(a, b) for a, b in zip(one, two, strict=True))
    assert same_checkpoint(run(arm, 1), run(arm, 2))


def test_each_client_starts_from_its_own() -> None:
    arm = small_arm("messenger", training={"learning_rate": 1e-9})
    for upload in uploads(arm, 1):
        expected = torch.full((3,), sum(upload.client.encode()) / 1000)
        torch.testing.assert_close(upload.change["network.head.bias"], expected)


@forks
def test_the_regions_of_messages_are_given_back() -> None:
    arm = small_arm("messenger")
    server = arm.start().server
    broadcast, names = arm.algorithm.broadcast(server), list(arm.participants)
    sent = {name: arm.algorithm.message(server, name) for name in names}
    states = ClientStateStore.temporary()
    team = ProcessPoolEngine(arm.runtime, states, 2)
    try:
        for _ in range(3):
            for upload, *_ in team.update(broadcast, names, {}, sent):
                del upload
            list(team.evaluate(broadcast, names, {}, "test", "before_local_training", sent))
        # The broadcast's, and for each of three clients that of its message and that of its upload.
        assert team._memory._regions <= 1 + 2 * len(names)
    finally:
        team.close()


def test_a_broadcast_without_a_message_is_not_copied() -> None:
    broadcast = Broadcast(1, {}, {"common": torch.ones(1)})
    assert broadcast.with_message({}) is broadcast
    sent = broadcast.with_message({"own": torch.zeros(1)})
    assert sent.extra.keys() == {"common", "own"}
    assert broadcast.extra.keys() == {"common"}


def test_an_algorithm_without_messages_sends_no_byte() -> None:
    arm = small_arm("fedavg")
    assert arm.algorithm.message(arm.start().server, "CT-1") == {}
    assert Messenger().message(arm.start().server, "PET") == {}


@forks
def test_workers_evaluate_with_the_message(tmp_path: Path) -> None:
    arm = small_arm("messenger")
    server = arm.start().server
    sent = {name: arm.algorithm.message(server, name) for name in arm.participants}
    found = []
    for workers in (1, 2):
        with InProcess(arm.runtime, workers) as engine:
            evaluated = engine.evaluate(
                arm.algorithm.broadcast(server), arm.participants, "test", "before_local_training", sent
            )
            found.append({name: scores.numbers for name, scores in evaluated})
    assert found[0] == found[1]
