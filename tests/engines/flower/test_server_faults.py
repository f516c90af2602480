"""Hospitals that are away, fail or are refused, and a server that is killed: the run ends as it should."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from town import NAMES, Town, events, here_played, server_run

from omnifm.engines.flower import server, transport
from omnifm.engines.flower.client_handler import ClientHandler
from omnifm.engines.flower.membership import read_membership
from omnifm.utils.errors import DeploymentError, ExperimentError, FolderInUseError
from omnifm.utils.signals import Interrupted, cooperative, interruptible

pytestmark = pytest.mark.slow

ALL_THERE = {"hospitals": list(NAMES), "min_answers": 3}


def test_a_hospital_that_goes_and_comes_back_loses_nothing(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan("omnifm"), town.grid(tmp_path / "hospitals")
    here = here_played(plan, tmp_path / "here")
    away = iter(["gone"])
    back_at: list[float] = []

    def fault(name: str, group: str) -> str:
        if (name, group) == ("MRI", "round 2") and next(away, ""):
            grid.disconnect("MRI")
            back_at.append(grid.clock + 20)
        return "gone" if name not in grid.connected else ""

    def look() -> None:
        if back_at and grid.clock > back_at[0] and "MRI" not in grid.connected:
            grid.connect("MRI")

    grid.fault, grid.each_look = fault, look
    assert server_run(plan, grid, tmp_path / "deployed") == here
    told = [event for event, name in events(tmp_path / "deployed") if name == "MRI"]
    assert told.index("there") < told.index("gone") < told.index("back")
    assert "missed" not in told


@pytest.mark.parametrize("algorithm", ["scaffold", "omnifm"])
def test_a_hospital_that_misses_a_round_continues_from_its_state(town: Town, tmp_path: Path, algorithm: str) -> None:
    plan, grid = town.plan(algorithm, deploy={"deadline": 30.0}), town.grid(tmp_path / "hospitals")
    # It trains in the second round, but its answer does not come in time.
    grid.fault = lambda name, group: "never" if (name, group) == ("PET", "round 2") else ""
    here = here_played(plan, tmp_path / "here", missed=[("PET", 2)])
    assert here != here_played(plan, tmp_path / "undisturbed")
    assert server_run(plan, grid, tmp_path / "deployed") == here
    assert ("missed", "PET") in events(tmp_path / "deployed")


def test_a_hospital_may_join_later(town: Town, tmp_path: Path) -> None:
    plan = town.plan("scaffold", deploy={"wait_for": 2, "grace": 0.0})
    grid = town.grid(tmp_path / "hospitals")
    grid.disconnect("PET")

    def fault(name: str, group: str) -> str:
        if group == "round 2" and "PET" not in grid.connected:
            grid.connect("PET")
        return ""

    grid.fault = fault
    here = here_played(plan, tmp_path / "here", missed=[("PET", 1), ("PET", 2)])
    assert server_run(plan, grid, tmp_path / "deployed") == here
    rounds = [json.loads(line) for line in (tmp_path / "deployed/scaffold/metrics.jsonl").read_text().splitlines()]
    took_part = [sorted(line["clients"]) for line in rounds if line["event"] == "round"]
    assert took_part == [["CT", "MRI"], ["CT", "MRI"], ["CT", "MRI", "PET"]]
    assert json.loads((tmp_path / "deployed/scaffold/result.json").read_text())["clients"]["PET"]["train"] == 12
    membership = read_membership(tmp_path / "deployed")
    assert membership is not None
    assert membership.keys["PET"] == b"PET".hex()  # and no other key may use the name from now on


class Killed(BaseException):
    """The server is killed."""


@pytest.mark.parametrize(("group", "algorithm"), [("round 1", "ditto"), ("round 3", "omnifm"), ("round 4", "scaffold")])
def test_a_killed_server_continues(town: Town, tmp_path: Path, group: str, algorithm: str) -> None:
    plan, grid = town.plan(algorithm), town.grid(tmp_path / "hospitals")
    here = here_played(plan, tmp_path / "here")

    def kill(name: str, of: str) -> str:
        if (name, of) == ("MRI", group):
            raise Killed
        return ""

    grid.fault = kill
    with pytest.raises(Killed):
        server_run(plan, grid, tmp_path / "deployed")
    again = town.grid(tmp_path / "hospitals")
    assert server_run(None, again, tmp_path / "deployed", resume=True) == here


@pytest.mark.usefixtures("restored_signals")
@pytest.mark.parametrize("group", ["hello", "round 1", "round 3"])
def test_a_server_that_is_stopped_while_it_waits_resumes_later(town: Town, tmp_path: Path, group: str) -> None:
    plan, grid = town.plan("scaffold", deploy=ALL_THERE), town.grid(tmp_path / "hospitals")

    def fault(name: str, of: str) -> str:
        if (name, of) != ("MRI", group):
            return ""
        signal.raise_signal(signal.SIGTERM)
        return "never"

    grid.fault = fault
    with pytest.raises(Interrupted), interruptible(), cooperative():
        server_run(plan, grid, tmp_path / "deployed")
    grid = town.grid(tmp_path / "hospitals")
    resume = (tmp_path / "deployed/experiment.toml").exists()
    assert server_run(plan, grid, tmp_path / "deployed", resume) == here_played(plan, tmp_path / "here")


@pytest.mark.usefixtures("restored_signals")
def test_one_that_waits_for_hospitals_that_left_can_be_stopped(town: Town, tmp_path: Path) -> None:
    plan = town.plan("fedavg", deploy={**ALL_THERE, "min_answers": 2, "grace": 5.0})
    grid = town.grid(tmp_path / "hospitals")

    def look() -> None:
        for name in ("MRI", "PET"):
            if (name, "round 1") in grid.starts:
                grid.disconnect(name)
        if grid.clock > 100:
            signal.raise_signal(signal.SIGTERM)

    grid.each_look = look
    grid.fault = lambda name, group: "never" if (name, group) == ("CT", "round 1") and grid.clock < 50 else ""
    with pytest.raises(Interrupted), interruptible(), cooperative():
        server_run(plan, grid, tmp_path / "deployed")


def test_a_folder_that_cannot_be_written_is_not_waited_for(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(server, "_PATIENCE", 0.5)
    monkeypatch.setattr("omnifm.engines.flower.server.time.sleep", waits.append)
    (tmp_path / "file").write_text("")
    with pytest.raises(ExperimentError, match="cannot be written: Not a directory"):
        server_run(town.plan("fedavg"), town.grid(tmp_path / "hospitals"), tmp_path / "file/run")
    assert not waits

    def held(folder: Path) -> Any:
        raise FolderInUseError(f"{folder} is in use")

    monkeypatch.setattr(server, "locked", held)
    with pytest.raises(FolderInUseError):
        server_run(town.plan("fedavg"), town.grid(tmp_path / "hospitals"), tmp_path / "run")
    assert waits


def test_a_crashed_process_is_asked_again_and_at_last_passed_over(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan("fedavg"), town.grid(tmp_path / "hospitals")
    crashes = iter(["crash", "crash"])
    grid.fault = lambda name, group: next(crashes, "") if (name, group) == ("CT", "round 1") else ""
    assert server_run(plan, grid, tmp_path / "deployed") == here_played(plan, tmp_path / "here")
    grid = town.grid(tmp_path / "others")
    grid.fault = lambda name, group: "crash" if (name, group) == ("CT", "round 1") else ""
    assert server_run(plan, grid, tmp_path / "again") == here_played(plan, tmp_path / "missed", [("CT", 1)])
    assert ("failed", "CT") in events(tmp_path / "again")


def test_a_spoilt_answer_counts_as_none(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan("fedavg"), town.grid(tmp_path / "hospitals")
    grid.fault = lambda name, group: "spoil" if (name, group) == ("PET", "round 2") else ""
    assert server_run(plan, grid, tmp_path / "deployed") == here_played(plan, tmp_path / "here", [("PET", 2)])
    text = (tmp_path / "deployed/deploy.jsonl").read_text()
    assert '"client": "PET"' in text
    assert "its answer is not understood" in text


def test_an_upload_of_more_samples_than_a_hospital_has_counts_as_none(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ClientHandler._worked

    def boasting(self: ClientHandler, request: Any, *more: Any) -> Any:
        reply, sent = real(self, request, *more)
        if self.config.name == "PET" and request.broadcast.round == 2:
            assert reply.upload is not None
            reply = replace(reply, upload=replace(reply.upload, samples=reply.upload.samples + 1))
        return reply, sent

    monkeypatch.setattr(ClientHandler, "_worked", boasting)
    plan = town.plan("fedavg")
    assert server_run(plan, town.grid(tmp_path / "hospitals"), tmp_path / "deployed") == here_played(
        plan, tmp_path / "here", [("PET", 2)]
    )
    assert ("rejected", "PET") in events(tmp_path / "deployed")
    assert "13 samples, more than the 12 that it has" in (tmp_path / "deployed/deploy.jsonl").read_text()


def test_too_few_answers_end_the_run_and_say_why(town: Town, tmp_path: Path) -> None:
    plan = town.plan("omnifm", deploy=ALL_THERE)
    policy = {"tasks": ["*"], "algorithms": ["*"], "upload": ["weights"], "min_cluster": 1, "minimum_patients": 1}
    grid = town.grid(tmp_path / "hospitals", MRI={"policy": policy})
    with pytest.raises(DeploymentError, match=r"Round 1: 3 answers are needed.*MRI: refused: The upload holds"):
        server_run(plan, grid, tmp_path / "deployed")
    audit_log = (tmp_path / "hospitals/MRI/state/hospitals/MRI/audit.jsonl").read_text()
    assert "policy.upload allows weights" in audit_log


def test_where_nobody_is_named_all_that_are_connected_take_part(town: Town, tmp_path: Path) -> None:
    grid = town.grid(tmp_path / "hospitals")
    held = iter(["never"] * 5)  # the third does not answer at once
    grid.fault = lambda name, group: next(held, "") if (name, group) == ("PET", "hello") else ""
    server_run(town.plan("fedavg", deploy={"hospitals": []}), grid, tmp_path / "deployed")
    result = json.loads((tmp_path / "deployed/fedavg/result.json").read_text())
    assert list(result["clients"]) == list(NAMES)


def test_one_that_says_nothing_holds_the_others_up_no_longer_than_grace(town: Town, tmp_path: Path) -> None:
    grid = town.grid(tmp_path / "hospitals")
    grid.fault = lambda name, group: "never" if (name, group) == ("PET", "hello") else ""
    server_run(town.plan("fedavg", deploy={"hospitals": [], "grace": 20.0}), grid, tmp_path / "deployed")
    result = json.loads((tmp_path / "deployed/fedavg/result.json").read_text())
    assert list(result["clients"]) == ["CT", "MRI"]
    assert grid.clock > 20


def test_a_hospital_not_among_them_is_refused(town: Town, tmp_path: Path) -> None:
    plan = town.plan("fedavg", deploy={"hospitals": ["CT", "MRI"]})
    server_run(plan, town.grid(tmp_path / "hospitals"), tmp_path / "deployed")
    result = json.loads((tmp_path / "deployed/fedavg/result.json").read_text())
    assert list(result["clients"]) == ["CT", "MRI"]
    stand = json.loads((tmp_path / "deployed/status.json").read_text())
    assert "not among the hospitals of this run" in stand["hospitals"]["PET"]["trouble"]


def test_a_hospital_with_the_name_of_another_key_is_refused(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan("fedavg", deploy={"wait_for": 2}), town.grid(tmp_path / "hospitals")
    grid.registered = {"CT": "CT", "MRI": "Elsewhere", "PET": "PET"}
    server_run(plan, grid, tmp_path / "deployed")
    assert ("unwelcome", "MRI") in events(tmp_path / "deployed")
    assert {name for event, name in events(tmp_path / "deployed") if event == "answer"} == {"CT", "PET"}
    assert "its key is registered as that of Elsewhere" in (tmp_path / "deployed/deploy.jsonl").read_text()


def test_another_version_is_refused_and_named(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, grid = town.plan("fedavg", deploy={"wait_for": 2}), town.grid(tmp_path / "hospitals")
    real = transport.to_records

    def of_another_version(payload: bytes) -> Any:
        content = real(payload)
        if b'"client\\\\": \\\\"PET' in payload or b"PET" in payload[:400]:
            content.config_records["about"]["omnifm"] = "9.9"
        return content

    monkeypatch.setattr("omnifm.engines.flower.client_app.to_records", of_another_version)
    server_run(plan, grid, tmp_path / "deployed")
    text = (tmp_path / "deployed/deploy.jsonl").read_text()
    assert "OmniFM '9.9'" in text
    assert "unwelcome" in text
