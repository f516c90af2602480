from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import packed, same, same_checkpoint, same_record, small_arm

from omnifm.algorithms.fedavg import FedAvg
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.evaluation import EvaluationPoint
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import Arm
from omnifm.training.trainer import Trainer
from omnifm.utils.errors import NonFiniteLossError, OmniFMError

pytestmark = [pytest.mark.slow, pytest.mark.process]

forks = pytest.mark.skipif(sys.platform != "linux", reason="workers need fork")


def run(arm: Arm, workers: int, rounds: int = 2, since: Checkpoint | None = None) -> Checkpoint:
    with InProcess(arm.runtime, workers) as engine:
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
    assert same_checkpoint(one, two)
    assert set(one.clients) == {"CT-1", "CT-2", "MRI"}
    assert one.best["before_local_training"][1] > 0


@forks
@pytest.mark.parametrize("workers", [1, 2])
def test_the_seconds_of_each_client_are_known(workers: int) -> None:
    arm = small_arm("fedavg")
    with InProcess(arm.runtime, workers) as engine:
        started, names = time.perf_counter(), ["CT-1", "CT-2", "MRI"]
        list(engine.update(arm.algorithm.broadcast(arm.start().server), names))
        whole = time.perf_counter() - started
        assert set(engine.seconds) == set(names)
        assert all(0 < seconds < whole for seconds in engine.seconds.values())


@forks
@pytest.mark.parametrize("workers", [1, 2])
def test_imports_of_a_task_come_before_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    (tmp_path / "slow_to_import.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    arm = small_arm("fedavg")
    monkeypatch.setattr(type(arm.task), "imports", ("slow_to_import",))
    with InProcess(arm.runtime, workers):
        assert (sys.modules.pop("slow_to_import", None) is not None) == (workers > 1)


@pytest.mark.parametrize("algorithm", ["fedavg", "omnifm", "local"])
def test_resumed_is_as_never_stopped(algorithm: str) -> None:
    arm = small_arm(algorithm)
    whole = run(arm, 1, rounds=2)
    half = run(arm, 1, rounds=1)
    resumed = run(small_arm(algorithm), 1, rounds=2, since=packed(half))
    assert same_checkpoint(whole, resumed)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=forks)])
def test_the_longest_training_comes_first(workers: int) -> None:
    arm = small_arm("fedavg")
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.runtime, workers) as engine:
        for names in (["MRI", "CT-1", "CT-2"], ["CT-2", "CT-1"], ["CT-2"], []):
            expected = [name for name in ("CT-1", "CT-2", "MRI") if name in names]
            assert [upload.client for upload in engine.update(broadcast, names)] == expected
            evaluated = [name for name, _ in engine.evaluate(broadcast, names, "test", "before_local_training")]
            assert evaluated == names, "all have as many test images"


@forks
def test_uploads_may_be_kept() -> None:
    arm = small_arm("omnifm")
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.runtime, 1) as engine:
        one = list(engine.update(broadcast, arm.participants))
    with InProcess(arm.runtime, 2) as engine:
        rounds = []
        for _ in range(3):
            rounds.append(list(engine.update(broadcast, arm.participants)))
            engine.restore({})
    for uploads in rounds:  # later ones went through the same shared memory
        assert all(same_record(a, b) for a, b in zip(one, uploads, strict=True))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=forks)])
@pytest.mark.parametrize("point", ["before_local_training", "after_local_training"])
def test_judging_changes_no_state(workers: int, point: Any) -> None:
    arm = small_arm("omnifm")
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.runtime, workers) as engine:
        list(engine.update(broadcast, ["CT-1"]))
        before = engine.states
        list(engine.evaluate(broadcast, arm.evaluated, "validation", point))
        assert engine.states.keys() == before.keys() == {"CT-1"}
        assert same(engine.states["CT-1"].personal, before["CT-1"].personal)


def test_the_readings_differ() -> None:
    arm = small_arm("fedavg", training={"epochs": 6})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.runtime) as engine:
        points: tuple[EvaluationPoint, ...] = ("before_local_training", "after_local_training", "before_local_training")
        found = [next(engine.evaluate(broadcast, ["CT-1"], "test", point))[1].numbers for point in points]
    # Six epochs are enough to learn the stripes; untrained weights cannot know them.
    assert [scores["accuracy"] for scores in found] == [0.5, 1.0, 0.5]
    assert found[0] == found[2]


def test_states_are_restored() -> None:
    arm = small_arm("omnifm")
    suffix = {"adapter.prompting.suffix": torch.full((1, 1, 32), 0.5)}
    with InProcess(arm.runtime) as engine:
        list(engine.update(arm.algorithm.broadcast(arm.start().server), ["CT-1", "MRI"]))
        engine.restore({"CT-2": ClientState(suffix)})
        assert list(engine.states) == ["CT-2"]
        assert same(engine.states["CT-2"].personal, suffix)


def test_states_outlive_the_engine_and_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    arm = small_arm("omnifm")
    last = run(arm, 1)
    assert set(last.clients["MRI"].personal) == arm.runtime.personal
    assert len(list(tmp_path.iterdir())) == 1
    del last
    gc.collect()
    assert not list(tmp_path.iterdir())


def counted(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@dataclass(frozen=True)
class Dying(FedAvg):
    """A worker at client CT-2 is killed the first ``times``, as by the system when memory runs out."""

    counter: Path
    times: int

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        if trainer.client.name == "CT-2" and counted(self.counter) < self.times:
            self.counter.write_bytes(bytes(counted(self.counter) + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().client_update(broadcast, client, trainer)


@forks
@pytest.mark.parametrize("times", [1, 2])
def test_a_killed_worker_is_replaced_and_its_client_run_again(
    tmp_path: Path, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    arm = small_arm("fedavg")
    whole = run(arm, 1)
    arm.runtime.algorithm = Dying(tmp_path / "deaths", times)
    assert same_checkpoint(run(arm, 2), whole)
    assert caplog.text.count("The worker process at 'CT-2' died (SIGKILL): another one does it again.") == times


@forks
def test_a_client_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    arm = small_arm("fedavg")
    arm.runtime.algorithm = Dying(tmp_path / "deaths", 99)
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with (
        InProcess(arm.runtime, 2) as engine,
        pytest.raises(OmniFMError, match=r"3 worker processes died.*'CT-2' \(last: SIGKILL\).*--workers 1"),
    ):
        list(engine.update(broadcast, ["CT-1", "CT-2", "MRI"]))


@dataclass(frozen=True)
class Hungry(FedAvg):
    """At client CT-2, a worker asks for more memory than there is the first ``times``."""

    counter: Path
    times: int

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        if (
            trainer.client.name == "CT-2"
            and (len(self.counter.read_bytes()) if self.counter.exists() else 0) < self.times
        ):
            with self.counter.open("ab") as file:
                file.write(b".")
            torch.empty(2**60)
        return super().client_update(broadcast, client, trainer)


@forks
def test_too_little_memory_costs_a_worker_and_not_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arm = small_arm("fedavg")
    whole = run(arm, 1)
    arm.runtime.algorithm = Hungry(tmp_path / "shortages", 1)
    assert same_checkpoint(run(arm, 3), whole)
    assert "ran out of memory: continuing with 2. To start with as many, use --workers 2." in caplog.text


@forks
def test_too_little_memory_for_one_worker_is_reported(tmp_path: Path) -> None:
    arm = small_arm("fedavg")
    arm.runtime.algorithm = Hungry(tmp_path / "shortages", 99)
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.runtime, 2) as engine, pytest.raises(OmniFMError, match="not enough memory for even one worker"):
        list(engine.update(broadcast, ["CT-2"]))


@forks
def test_an_error_in_a_worker_is_that_error() -> None:
    arm = small_arm("fedavg", training={"learning_rate": 1e38})
    broadcast = arm.algorithm.broadcast(arm.start().server)
    with InProcess(arm.runtime, 2) as engine, pytest.raises(NonFiniteLossError, match="client 'CT-1' is nan"):
        list(engine.update(broadcast, ["CT-1"]))
