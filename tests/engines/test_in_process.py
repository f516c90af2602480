from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from helpers import same, small_arm

from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.state import Broadcast, ClientState, Upload
from omnifm.arm import Arm
from omnifm.crew import auto_workers
from omnifm.engines.in_process import InProcess
from omnifm.errors import NonFiniteLossError, OmniFMError
from omnifm.federation import Snapshot
from omnifm.training import Trainer

forks = pytest.mark.skipif(sys.platform != "linux", reason="workers need fork")


def run(arm: Arm, workers: int, rounds: int = 2, since: Snapshot | None = None) -> Snapshot:
    with InProcess(arm.site, workers) as engine:
        federation = arm.federation(engine)
        federation.settings = type(federation.settings)(rounds=rounds, evaluate_every=1)
        return federation.run(since or arm.start())


@forks
@pytest.mark.parametrize(
    ("algorithm", "changes"),
    [
        ("fedavg", {"classification": {"norm": "batch-personal"}}),
        ("omnifm", {"federation": {"personal": ["head"]}}),
        ("local", {"adapter": {"use": "on"}}),
    ],
)
def test_one_worker_and_two_give_the_same_bits(algorithm: str, changes: dict[str, Any]) -> None:
    arm = small_arm(algorithm, **changes)
    one, two = run(arm, 1), run(arm, 2)
    assert same(one.pack()[0], two.pack()[0])
    assert one.pack()[1] == two.pack()[1]
    assert set(one.clients) == {"CT-1", "CT-2", "MRI"}
    assert one.best["received"][1] > 0


@pytest.mark.parametrize("algorithm", ["fedavg", "omnifm", "local"])
def test_resumed_is_as_never_stopped(algorithm: str) -> None:
    arm = small_arm(algorithm)
    whole = run(arm, 1, rounds=2)
    half = run(arm, 1, rounds=1)
    resumed = run(small_arm(algorithm), 1, rounds=2, since=Snapshot.unpack(*half.pack()))
    assert same(whole.pack()[0], resumed.pack()[0])
    assert whole.pack()[1] == resumed.pack()[1]


@forks
def test_uploads_come_in_the_order_given() -> None:
    arm = small_arm("fedavg")
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.site, 2) as engine:
        for names in (["MRI", "CT-1", "CT-2"], ["CT-2"], []):
            assert [upload.client for upload in engine.update(broadcast, names)] == names
            assert [n for n, _ in engine.evaluate(broadcast, names, "test", "received")] == names


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=forks)])
@pytest.mark.parametrize("reading", ["received", "personalised"])
def test_judging_changes_no_state(workers: int, reading: Any) -> None:
    arm = small_arm("omnifm")
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.site, workers) as engine:
        list(engine.update(broadcast, ["CT-1"]))
        before = engine.states
        list(engine.evaluate(broadcast, arm.judged, "validation", reading))
        assert engine.states.keys() == before.keys() == {"CT-1"}
        assert same(engine.states["CT-1"].personal, before["CT-1"].personal)


def test_the_readings_differ() -> None:
    arm = small_arm("fedavg", training={"epochs": 6})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.site) as engine:
        readings = ("received", "personalised", "received")
        found = [next(engine.evaluate(broadcast, ["CT-1"], "test", reading))[1].numbers for reading in readings]
    # Six epochs are enough to learn the stripes; untrained weights cannot know them.
    assert [scores["accuracy"] for scores in found] == [0.5, 1.0, 0.5]
    assert found[0] == found[2]


def test_states_are_restored() -> None:
    arm = small_arm("omnifm")
    suffix = {"adapter.prompting.suffix": torch.full((1, 1, 32), 0.5)}
    with InProcess(arm.site) as engine:
        list(engine.update(arm.algorithm.broadcast(arm.start().server), ["CT-1", "MRI"]))
        engine.restore({"CT-2": ClientState(suffix)})
        assert list(engine.states) == ["CT-2"]
        assert same(engine.states["CT-2"].personal, suffix)
        engine.states.clear()
        assert list(engine.states) == ["CT-2"]


@dataclass(frozen=True)
class Dying(FedAvg):
    """Its client CT-2 is killed at work, as by the system when memory runs out."""

    parent: int = 0

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        if trainer.client.name == "CT-2" and os.getpid() != self.parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().client_update(broadcast, client, trainer)


@forks
def test_a_killed_worker_gives_a_clear_error() -> None:
    arm = small_arm("fedavg")
    arm.site.algorithm = Dying(os.getpid())
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with (
        InProcess(arm.site, 2) as engine,
        pytest.raises(OmniFMError, match=r"A worker process died.*--workers 1"),
    ):
        list(engine.update(broadcast, ["CT-1", "CT-2", "MRI"]))


@forks
def test_a_later_round_after_a_killed_worker_gives_the_same_error() -> None:
    arm = small_arm("fedavg")
    arm.site.algorithm = Dying(os.getpid())
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.site, 2) as engine:
        for _ in range(2):
            with pytest.raises(OmniFMError, match="A worker process died"):
                list(engine.update(broadcast, ["CT-2"]))


@forks
def test_an_error_in_a_worker_is_that_error() -> None:
    arm = small_arm("fedavg", training={"learning_rate": 1e38})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.site, 2) as engine, pytest.raises(NonFiniteLossError, match="client 'CT-1' is nan"):
        list(engine.update(broadcast, ["CT-1"]))


def test_auto_workers_fit_the_machine() -> None:
    assert 1 <= auto_workers() <= (os.cpu_count() or 1)
