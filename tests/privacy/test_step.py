"""Steps are applied at the one door, whatever the engine, and only to what leaves."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from helpers import same, same_record, small_arm
from messenger import Noise

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.kinds import Kind
from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import ClientState, Upload
from omnifm.engines.in_process import InProcess
from omnifm.privacy.secret import ClientSecret
from omnifm.privacy.step import UploadStep, apply_on_client, apply_on_server
from omnifm.runs.arm import Arm

forks = pytest.mark.skipif(sys.platform != "linux", reason="workers need fork")
HEAD = "network.head.bias"


@dataclass(frozen=True)
class Affine(UploadStep):
    """Multiplies, then adds; on the server too."""

    times: float
    plus: float

    def on_client(self, upload: Upload, kinds: Mapping[str, Kind], secret: ClientSecret) -> Upload:
        return replace(upload, change={name: self.times * v + self.plus for name, v in upload.change.items()})

    def on_server(self, mean: Mean) -> Mean:
        return mean._replace(change={name: self.times * v + self.plus for name, v in mean.change.items()})


def test_a_step_does_nothing_by_itself() -> None:
    upload, mean = Upload("a", 1, 0.0, {"w": torch.ones(1)}), Mean({"w": torch.ones(1)}, {}, 1)
    assert UploadStep().on_client(upload, {}, ClientSecret()) is upload
    assert UploadStep().on_server(mean) is mean


def test_steps_in_order_at_the_client_and_in_reverse_at_the_server() -> None:
    steps = [Affine(2.0, 0.0), Affine(1.0, 3.0)]
    upload = apply_on_client(steps, Upload("a", 1, 0.0, {"w": torch.ones(1)}), {}, ClientSecret())
    assert upload.change["w"].item() == 5.0
    assert apply_on_server(steps, Mean({"w": torch.ones(1)}, {}, 1)).change["w"].item() == 8.0


def arm_with(*steps: UploadStep, algorithm: str = "fedavg") -> Arm:
    arm = small_arm(algorithm)
    arm.runtime.steps.extend(steps)
    return arm


def test_what_the_client_keeps_is_not_changed() -> None:
    plain, stepped = arm_with(algorithm="scaffold"), arm_with(Affine(0.0, 0.0), algorithm="scaffold")
    (_, one), (upload, other) = (
        arm.runtime.update(arm.algorithm.broadcast(arm.start().server), "CT-1", ClientState())
        for arm in (plain, stepped)
    )
    assert same_record(one, other)
    assert not any(value.any() for value in upload.change.values())


def test_what_is_trained_to_be_evaluated_passes_the_door_only_if_it_leaves() -> None:
    passed: list[str] = []

    class Watching(UploadStep):
        def on_client(self, upload: Upload, kinds: Mapping[str, Kind], secret: ClientSecret) -> Upload:
            passed.append(upload.client)
            return upload

    arm = arm_with(Watching())
    broadcast = arm.algorithm.broadcast(arm.start().server)
    judge = (("validation", "after_local_training"),)
    arm.runtime.evaluate(broadcast, "CT-1", ClientState(), "test", "after_local_training")
    arm.runtime.work(broadcast, "CT-1", ClientState(), judge, train=False)  # type: ignore[arg-type]
    assert passed == []
    arm.runtime.work(broadcast, "CT-1", ClientState(), judge, train=True)  # type: ignore[arg-type]
    assert passed == ["CT-1"]


def noisy_uploads(folder: Path, workers: int) -> list[Upload]:
    arm = arm_with(Noise())
    with InProcess(arm.runtime, workers, ClientStateStore(folder)) as engine:
        return list(engine.update(arm.algorithm.broadcast(arm.start().server), arm.participants))


@forks
def test_noise_is_the_same_where_the_secret_is(tmp_path: Path) -> None:
    here, again = noisy_uploads(tmp_path / "a", 1), noisy_uploads(tmp_path / "a", 2)
    elsewhere = noisy_uploads(tmp_path / "b", 1)
    for one, two, other in zip(here, again, elsewhere, strict=True):
        assert same(one.change, two.change)
        assert not torch.equal(one.change[HEAD], other.change[HEAD])
    names = sorted(path.parent.name for path in (tmp_path / "a").rglob("secret"))
    assert names == ["CT-1", "CT-2", "MRI"]


def test_a_resumed_run_draws_the_same_noise(tmp_path: Path) -> None:
    def run(rounds: int, since: Checkpoint | None = None) -> Checkpoint:
        arm = arm_with(Noise())
        with InProcess(arm.runtime, 1, ClientStateStore(tmp_path)) as engine:
            federation = arm.federation(engine)
            federation.settings = type(federation.settings)(rounds=rounds, evaluate_every=1)
            return federation.run(since or arm.start())

    whole = run(2)
    assert same(run(2, run(1)).server.shared, whole.server.shared)


def test_where_no_step_asks_for_it_no_secret_is_made(tmp_path: Path) -> None:
    arm = arm_with(Affine(1.0, 0.0))
    with InProcess(arm.runtime, 1, ClientStateStore(tmp_path)) as engine:
        list(engine.update(arm.algorithm.broadcast(arm.start().server), arm.participants))
    assert not list(tmp_path.rglob("secret"))


def test_the_server_half_is_part_of_the_arms_rounds() -> None:
    ends = []
    for arm in (arm_with(), arm_with(Affine(0.0, 0.0))):
        with InProcess(arm.runtime) as engine:
            ends.append(arm.federation(engine).run(arm.start()).server.shared[HEAD])
    assert torch.equal(ends[1], arm.start().server.shared[HEAD])
    assert not torch.equal(ends[0], ends[1])
