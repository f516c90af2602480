"""Runs with secure aggregation, over messages: the weights are those of one process, whoever leaves in between."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message
from small_run import log_lines, write_images
from town import Town, events, here_played, server_run

from omnifm.config.experiment import Plan
from omnifm.engines.flower.certificates import make_authority
from omnifm.engines.flower.client_config import read_client_config
from omnifm.engines.flower.client_handler import ClientHandler
from omnifm.engines.flower.config_exchange import public_config
from omnifm.engines.flower.messages import Reply, Request
from omnifm.engines.flower.secure_aggregation.credentials import write_credentials
from omnifm.engines.flower.transport import from_records
from omnifm.runs import run as runs

FOLDERS = {"a": "CT", "b": "MRI", "c": "PET", "d": "XR"}
NAMES = tuple(FOLDERS.values())


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Town:
    root = tmp_path_factory.mktemp("four")
    authority = make_authority("tests")
    for name in NAMES:
        write_credentials(root / "keys" / name, name, authority)
    return Town(root, write_images(root / "data", FOLDERS, 5))


def summed(town: Town, *arms: str, rounds: int = 2, **changes: Any) -> Plan:
    return town.plan(
        *(arms or ("fedavg",)),
        **{
            "privacy": {"secure_aggregation": True},
            "checks": {"max_norm": 0.0},
            "federation": {"rounds": rounds},
            "deploy": {"hospitals": list(NAMES), "grace": 3.0},
            **changes,
        },
    )


def grid_of(town: Town, folder: Path, **policy: Any) -> Any:
    allowed = {"tasks": ["*"], "algorithms": ["*"], "min_cluster": 1, "minimum_patients": 1, **policy}
    return town.grid(folder, **{name: {"keys": str(town.root / "keys" / name), "policy": allowed} for name in NAMES})


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the report out, which takes longer than all else here."""
    monkeypatch.setattr(runs, "write_results", lambda out: None)


def test_the_weights_are_those_of_one_process(four: Town, tmp_path: Path) -> None:
    plan = summed(four, "fedavg", "scaffold")
    grid = grid_of(four, tmp_path / "hospitals", secure_aggregation="required")
    replies = list[Reply]()

    def noted(name: str, group: str, answer: Message) -> Message:
        replies.append(Reply.from_bytes(from_records(answer.content, 10**9)))
        return answer

    grid.answered = noted
    assert server_run(plan, grid, tmp_path / "out") == here_played(plan, tmp_path / "here")
    assert log_lines(tmp_path / "out/fedavg") == log_lines(tmp_path / "here/fedavg")
    assert not [reply for reply in replies if reply.upload is not None]
    masked = [reply for reply in replies if reply.masked is not None]
    assert len(masked) == 2 * 2 * len(NAMES)
    rounds = [json.loads(line) for line in (tmp_path / "out/fedavg/metrics.jsonl").read_text().splitlines()]
    clients = [line["clients"] for line in rounds if line["event"] == "round"]
    assert [{name: one["clients"] for name, one in told.items()} for told in clients] == 2 * [{"4 clients together": 4}]


@pytest.mark.parametrize("asked", [2, 3])
def test_a_hospital_that_leaves_in_a_sum_is_missed(four: Town, tmp_path: Path, asked: int) -> None:
    # It answers the training and `asked` stages of the first round's sum, and is back for the next round.
    plan, grid = summed(four), grid_of(four, tmp_path / "hospitals")
    counted = {"PET": 0}

    def fault(name: str, group: str) -> str:
        if name == "PET" and group == "round 1":
            counted["PET"] += 1
            return "crash" if counted["PET"] > 1 + asked else ""
        return ""

    grid.fault = fault
    missed = [("PET", 1)] if asked < 3 else []  # its vector was the third
    assert server_run(plan, grid, tmp_path / "out") == here_played(plan, tmp_path / "here", missed)
    assert ("failed", "PET") in events(tmp_path / "out")


def test_below_the_threshold_a_round_does_not_count(
    four: Town, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan, grid = summed(four, rounds=2), grid_of(four, tmp_path / "hospitals")
    grid.fault = lambda name, group: "crash" if group == "round 1" and grid_stage(grid, name) > 2 else ""
    with caplog.at_level(logging.WARNING):
        found = server_run(plan, grid, tmp_path / "out")
    assert "Round 1 does not count: 2 hospitals have answered the stage 'vector' of the secure sum" in caplog.text
    # As if the two others had been there in round 1 only, which are too few too.
    assert found == here_played(plan, tmp_path / "here", [("PET", 1), ("XR", 1)])


def grid_stage(grid: Any, name: str) -> int:
    """Return how many messages of round 1 two of the hospitals have been sent; of the others, none."""
    return grid.starts.count((name, "round 1")) if name in ("PET", "XR") else 0


def test_a_sum_is_begun_again_while_no_vector_has_left(four: Town, tmp_path: Path) -> None:
    plan, grid = summed(four, rounds=1), grid_of(four, tmp_path / "hospitals")
    lost = list[str]()

    def fault(name: str, group: str) -> str:
        if name in ("PET", "XR") and grid.starts.count((name, "round 1")) == 2 and lost.count(name) < 3:
            lost.append(name)
            return "crash"
        return ""

    grid.fault = fault
    assert server_run(plan, grid, tmp_path / "out") == here_played(plan, tmp_path / "here")
    assert ("sum", "") in events(tmp_path / "out")


class Killed(BaseException):
    """The server's process is gone."""


def test_a_server_that_dies_in_a_sum_gets_no_second_one(
    four: Town, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan, grid = summed(four), grid_of(four, tmp_path / "hospitals")

    def looked() -> None:
        if all(grid.starts.count((name, "round 1")) >= 4 for name in NAMES):  # trained, and sent its vector
            raise Killed

    grid.each_look = looked
    with pytest.raises(Killed):
        server_run(plan, grid, tmp_path / "out")
    grid.each_look = lambda: None
    with caplog.at_level(logging.WARNING):
        found = server_run(None, grid, tmp_path / "out", resume=True)
    assert "a masked vector of round 1 has left before, for another sum" in caplog.text
    assert "Round 1 does not count" in caplog.text
    assert found == here_played(plan, tmp_path / "here", [("PET", 1), ("XR", 1)])


def test_a_hospital_can_demand_it(four: Town, tmp_path: Path) -> None:
    plan = summed(four, rounds=1, privacy={}, deploy={"hospitals": list(NAMES), "wait_for": 3})
    grid = grid_of(four, tmp_path / "hospitals", secure_aggregation="required")
    plan_with = summed(four, rounds=1)
    reply = Reply.from_bytes(_asked(grid, plan))
    assert reply.outcome == "refused"
    assert reply.reason.startswith("privacy.secure_aggregation = false: no upload leaves here by itself (policy.")
    assert Reply.from_bytes(_asked(grid, plan_with)).outcome == "done"
    grid = grid_of(four, tmp_path / "hospitals", secure_threshold=4)
    assert "3 is less than policy.secure_threshold = 4" in Reply.from_bytes(_asked(grid, plan_with)).reason


def test_without_its_certificate_a_hospital_does_not_join(four: Town, tmp_path: Path) -> None:
    grid = grid_of(four, tmp_path / "hospitals")
    path = tmp_path / "hospitals/CT/client.toml"
    path.write_text(path.read_text().replace(str(four.root / "keys/CT"), str(tmp_path)))
    reason = Reply.from_bytes(_asked(grid, summed(four))).reason
    assert reason == "DeploymentError; the hospital's audit log has the details."
    (line,) = (tmp_path / "hospitals/CT/state/hospitals/CT/audit.jsonl").read_text().splitlines()
    assert "Secure aggregation needs the hospital's certificate: [Errno 2] No such file" in json.loads(line)["reason"]


def _asked(grid: Any, plan: Plan) -> bytes:
    (name, experiment), *_ = plan.arms.items()
    request = Request("", name, 0, public_config(experiment))
    return ClientHandler(read_client_config(grid._files["CT"])).answer(request.to_bytes())
