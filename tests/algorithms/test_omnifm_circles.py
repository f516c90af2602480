"""OmniFM over hospitals of two kinds whose images have nothing in common: who learns with whom, and by which bits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from alike import dataset_of_kinds
from helpers import federated, packed, same, same_checkpoint, small_arm

from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import ClientState, ServerState, Upload
from omnifm.core.tensors import strip_prefix
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import Arm


@pytest.fixture(scope="module")
def dataset() -> FederatedDataset:
    return dataset_of_kinds()


def arm_of(dataset: FederatedDataset, **changes: Any) -> Arm:
    bank = {"prototypes": 3, "min_cluster": 4, "rounded": False}  # eight numbers are too few to be rounded
    settings = {"federation": {"rounds": 4, "evaluate_every": 4}, "omnifm": {}, "bank": bank, **changes}
    return small_arm("omnifm", dataset, **settings)


@pytest.fixture(scope="module")
def checkpoints(dataset: FederatedDataset) -> list[Checkpoint]:
    return federated(arm_of(dataset))


def circles(checkpoint: Checkpoint) -> dict[str, list[str]]:
    found: dict[str, list[str]] = checkpoint.server.notes["report"]["circles"]
    return found


def test_the_bank_finds_who_is_alike_and_who_is_alone(checkpoints: list[Checkpoint]) -> None:
    assert circles(checkpoints[0]) == {}
    for checkpoint in checkpoints[1:]:
        assert circles(checkpoint) == {"0": ["fine-1", "fine-2"], "1": ["coarse-1", "coarse-2"]}


def test_the_server_keeps_one_set_of_weights_a_circle(checkpoints: list[Checkpoint]) -> None:
    memory = checkpoints[-1].server.memory
    sets = [strip_prefix(prefix, memory) for prefix in ("circle.initial", "circle.0", "circle.1", "circle.2")]
    assert sets[0].keys() == sets[1].keys() == sets[2].keys()
    assert not same(sets[1], sets[2])
    assert not sets[3]


def test_a_client_is_sent_its_circles_weights_alone(dataset: FederatedDataset, checkpoints: list[Checkpoint]) -> None:
    arm, server = arm_of(dataset), checkpoints[-1].server
    messages = {name: arm.algorithm.message(server, name) for name in arm.participants}
    assert messages["odd"] == {}
    assert same(messages["fine-1"], messages["fine-2"])
    assert same(strip_prefix("weights", messages["fine-1"]), strip_prefix("circle.0", server.memory))
    assert not any(name.startswith("network.backbone") for name in arm.algorithm.broadcast(server).shared)


def uploaded(arm: Arm, checkpoint: Checkpoint, name: str) -> Upload:
    server = checkpoint.server
    sent = arm.algorithm.broadcast(server).with_message(arm.algorithm.message(server, name))
    upload, _ = arm.runtime.update(sent, name, checkpoint.clients.get(name, ClientState()))
    arm.algorithm.check(upload, sent)
    return upload


def test_who_is_alone_keeps_its_backbone_to_itself(dataset: FederatedDataset, checkpoints: list[Checkpoint]) -> None:
    arm = arm_of(dataset)
    assert not any(name.startswith("network.backbone") for name in uploaded(arm, checkpoints[-1], "odd").change)
    assert any(name.startswith("network.backbone") for name in uploaded(arm, checkpoints[-1], "fine-1").change)


def test_what_was_not_asked_for_is_refused(dataset: FederatedDataset, checkpoints: list[Checkpoint]) -> None:
    arm, server = arm_of(dataset), checkpoints[-1].server
    upload = uploaded(arm, checkpoints[-1], "fine-1")
    with pytest.raises(ValueError, match=r"backbone.* is not expected"):
        arm.algorithm.check(upload, arm.algorithm.broadcast(server))


def test_a_circle_moves_to_the_mean_of_its_members(dataset: FederatedDataset) -> None:
    """All take what they receive, so the circle's weights are the mean of what its members trained."""
    arm = arm_of(dataset, federation={"rounds": 4, "acceptance": "off"})
    before, after = federated(arm)[1:3]
    uploads = [uploaded(arm, before, name) for name in ("fine-1", "fine-2")]
    reference = strip_prefix("reference", arm.algorithm.message(before.server, "fine-1"))
    assert reference  # the circle has just been formed, its members continue from their own
    for name, value in strip_prefix("circle.0", after.server.memory).items():
        mean = sum(reference[name] + upload.change[name] for upload in uploads) / 2
        torch.testing.assert_close(value, mean if value.is_floating_point() else value)
    own = [before.clients[name].personal for name in ("fine-1", "fine-2")]
    assert not same({n: own[0][n] for n in reference}, {n: own[1][n] for n in reference})


@pytest.mark.skipif(sys.platform != "linux", reason="workers need fork")
def test_the_bits_are_those_of_one_worker_and_of_a_resumed_run(
    dataset: FederatedDataset, checkpoints: list[Checkpoint]
) -> None:
    arm = arm_of(dataset)
    with InProcess(arm.runtime, 2) as engine:
        assert same_checkpoint(packed(arm.federation(engine).run(arm.start())), packed(checkpoints[-1]))
    assert same_checkpoint(packed(federated(arm, packed(checkpoints[1]))[-1]), packed(checkpoints[-1]))


@pytest.mark.parametrize("base", ["fedadam", "scaffold", "ditto", "fedprox", "feddyn", "fedrep", "fedper"])
def test_every_base_has_circles(dataset: FederatedDataset, base: str) -> None:
    checkpoint = federated(arm_of(dataset, omnifm={"base": base}, federation={"rounds": 3}))[-1]
    assert len(circles(checkpoint)) == 2
    assert strip_prefix("circle.0", checkpoint.server.memory)


def test_circles_may_be_declared_or_forbidden(dataset: FederatedDataset) -> None:
    declared = arm_of(dataset, omnifm={"circles": "group"}).start()
    assert circles(declared) == {"0": ["fine-1", "fine-2"], "1": ["coarse-1", "coarse-2"]}
    assert circles(federated(arm_of(dataset, omnifm={"circles": "off"}, federation={"rounds": 3}))[-1]) == {}


def test_a_median_serves_circles_too(dataset: FederatedDataset) -> None:
    mean, median = (
        federated(arm_of(dataset, aggregation={"rule": rule}, federation={"rounds": 3}))[-1].server
        for rule in ("mean", "median")
    )
    assert circles(Checkpoint(median)) == circles(Checkpoint(mean))
    assert strip_prefix("circle.0", median.memory)


def test_the_state_survives_a_file(checkpoints: list[Checkpoint], tmp_path: Path) -> None:
    server = checkpoints[-1].server
    (tmp_path / "state").write_bytes(server.to_bytes())
    back = ServerState.from_bytes((tmp_path / "state").read_bytes())
    assert same(back.memory, server.memory)
    assert back.notes == server.notes
