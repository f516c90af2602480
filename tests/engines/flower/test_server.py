"""A run over messages ends with the weights of the same run in one process."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from diary import known_diary
from messenger import messenger_known
from plugin import EVENTS, installed, write_plugin
from small_run import log_lines
from town import NAMES, Town, events, here_played, server_run

from omnifm.checkpoint.weight_file import read_weights, write_weights
from omnifm.config.experiment import make_plan
from omnifm.core.records import Broadcast
from omnifm.core.tensors import digest
from omnifm.export.loaded_arm import LoadedArm
from omnifm.export.weights import export_arm
from omnifm.runs.backend import LocalBackend
from omnifm.utils.errors import ExperimentError, OutOfTime

pytestmark = pytest.mark.slow

BOTH = {"evaluate": ["before_local_training", "after_local_training"]}
FOUR = ("fedavg", "scaffold", "ditto", "omnifm")


def test_four_algorithms_end_with_the_same_weights(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan(*FOUR, federation=BOTH), town.grid(tmp_path / "hospitals")
    here = here_played(plan, tmp_path / "here")
    assert len(set(here.values())) == 4
    assert server_run(plan, grid, tmp_path / "deployed") == here
    for arm in FOUR:
        found, expected = (json.loads((tmp_path / p / arm / "result.json").read_text()) for p in ("deployed", "here"))
        assert found.pop("panels") == {name: [] for name in NAMES}  # pictures are of patients, and stay with them
        assert all(expected.pop("panels").values())
        assert found == expected
        assert log_lines(tmp_path / "deployed" / arm) == log_lines(tmp_path / "here" / arm)
    assert not list((tmp_path / "deployed").rglob("clients/*"))


def test_messages_reach_their_hospitals(town: Town, tmp_path: Path) -> None:
    with messenger_known():
        changes = {"federation": BOTH, "omnifm": {"base": "messenger"}}
        plan, grid = town.plan("messenger", "omnifm", **changes), town.grid(tmp_path / "hospitals")
        here = here_played(plan, tmp_path / "here")
        assert server_run(plan, grid, tmp_path / "deployed") == here
    assert here != here_played(town.plan("fedavg", "omnifm", federation=BOTH), tmp_path / "without")

    def rounds(arm: Path) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (arm / "metrics.jsonl").read_text().splitlines()]
        clients = [{name: {**one, "seconds": 0} for name, one in line["clients"].items()} for line in lines]
        return [{**line, "seconds": 0, "time": 0, "clients": one} for line, one in zip(lines, clients, strict=True)]

    for arm in ("messenger", "omnifm"):
        assert rounds(tmp_path / "deployed" / arm) == rounds(tmp_path / "here" / arm)


def test_what_a_package_names_as_entry_points_works_at_server_and_hospitals(town: Town, tmp_path: Path) -> None:
    changes = {"fairest": {"q": 2.0}, "aggregation": {"rule": "largest"}}
    diary = {"kind": "every-event", "file": str(tmp_path / "diary")}
    policy: dict[str, Any] = {"tasks": ["*"], "algorithms": ["fairest"], "min_cluster": 1, "minimum_patients": 1}
    with installed(write_plugin(tmp_path / "plugin")):
        plan = town.plan("fairest", **changes)
        here = here_played(plan, tmp_path / "here")
        told, grid = make_plan({**plan.document, "callbacks": [diary]}), town.grid(tmp_path / "a", **_each(policy))
        assert server_run(told, grid, tmp_path / "deployed") == here
        grid = town.grid(tmp_path / "b", **_each({**policy, "algorithms": ["fedavg"]}))
        grid.each_look = partial(_raise_once_refused, tmp_path / "refused/deploy.jsonl")
        with pytest.raises(RuntimeError, match=r"The algorithm 'fairest' is not permitted here"):
            server_run(plan, grid, tmp_path / "refused")
    assert here != here_played(town.plan("fedavg"), tmp_path / "plain")
    assert set((tmp_path / "diary").read_text().split()) == EVENTS


def _raise_once_refused(log: Path) -> None:
    """End the wait of a server for hospitals that do not take part."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for line in lines:
        if line["event"] == "unwelcome":
            raise RuntimeError(line["text"])


def _each(policy: dict[str, Any]) -> dict[str, Any]:
    return {name: {"policy": policy} for name in NAMES}


def test_the_rule_and_the_steps_of_an_experiment_are_the_same_when_deployed(town: Town, tmp_path: Path) -> None:
    robust = {"aggregation": {"rule": "median"}, "privacy": {"clip": 0.05}}
    plan, grid = town.plan("fedavg", "scaffold", **robust), town.grid(tmp_path / "hospitals")
    here = here_played(plan, tmp_path / "here")
    assert server_run(plan, grid, tmp_path / "deployed") == here
    plain = here_played(town.plan("fedavg", "scaffold"), tmp_path / "plain")
    assert all(here[arm] != plain[arm] for arm in here)


def test_a_broadcast_is_packed_once_a_round(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed, real = list[int](), Broadcast.to_bytes

    def counted(broadcast: Broadcast) -> bytearray:
        packed.append(broadcast.round)
        return real(broadcast)

    monkeypatch.setattr(Broadcast, "to_bytes", counted)
    server_run(town.plan("fedavg"), town.grid(tmp_path / "hospitals"), tmp_path / "deployed")
    # To train in the first of three rounds, to be judged after each, and to be tested with the best.
    assert packed[:4] == [1, 2, 3, 4]
    assert len(packed) == 5


def test_a_start_from_given_weights_is_the_same_when_deployed(town: Town, tmp_path: Path) -> None:
    given = make_plan({**town.plan("fedavg").document, "seed": 5}).arms["fedavg"]
    arm = LocalBackend().arm(given, None)
    write_weights(tmp_path / "start.safetensors", arm.runtime.initial, arm.origin)
    plan = make_plan({**town.plan("fedavg", "omnifm").document, "init": str(tmp_path / "start.safetensors")})
    here = here_played(plan, tmp_path / "here")
    brought = {name: {"weights": str(tmp_path / "here" / "init")} for name in NAMES}
    assert server_run(plan, town.grid(tmp_path / "hospitals", **brought), tmp_path / "deployed") == here
    assert here != here_played(town.plan("fedavg", "omnifm"), tmp_path / "scratch")


def test_a_hospital_is_asked_once_a_round(town: Town, tmp_path: Path) -> None:
    grid = town.grid(tmp_path / "hospitals")
    server_run(town.plan("omnifm", federation=BOTH), grid, tmp_path / "deployed")
    asked = [group for name, group in grid.starts if name == "CT"]
    # It says who it is; trains; is judged and trains twice, is judged; and is tested at two evaluation points.
    assert asked[:5] == ["hello", "round 1", "round 2", "round 3", "round 4"]
    assert len(asked) == 7


def test_of_a_deployed_run_the_shared_weights_can_be_taken_out(town: Town, tmp_path: Path) -> None:
    plan = town.plan("omnifm")
    here_played(plan, tmp_path / "here")
    server_run(plan, town.grid(tmp_path / "hospitals"), tmp_path / "deployed")
    found = []
    for place in ("here", "deployed"):
        lacking = export_arm(LoadedArm.of(tmp_path / place, plan), None, tmp_path / place / "model")
        tensors, origin = read_weights(tmp_path / place / "model/model.safetensors")
        found.append((lacking, digest(tensors), origin.label_names))
    assert found[0] == found[1]
    with pytest.raises(ExperimentError, match="The personal tensors of CT are stored with that hospital only"):
        export_arm(LoadedArm.of(tmp_path / "deployed", plan), "CT", tmp_path / "own")


def test_callbacks_of_the_experiment_receive_events_on_the_server(town: Town, tmp_path: Path) -> None:
    plan, grid, file = town.plan("fedavg"), town.grid(tmp_path / "hospitals"), tmp_path / "diary"
    with known_diary():
        told = make_plan({**plan.document, "callbacks": [{"kind": "diary", "file": str(file), "pause": 2}]})
        with pytest.raises(OutOfTime, match="It is late"):
            server_run(told, grid, tmp_path / "deployed")
        assert "finished" not in [event for event, _ in events(tmp_path / "deployed")]
        again = make_plan({**plan.document, "callbacks": [{"kind": "diary", "file": str(file)}]})
        found = server_run(again, town.grid(tmp_path / "hospitals"), tmp_path / "deployed", resume=True)
    assert found == here_played(plan, tmp_path / "here")
    best = json.loads((tmp_path / "deployed/fedavg/result.json").read_text())["best"]["before_local_training"][0]
    assert [line.removeprefix("tiny fedavg s0 ") for line in file.read_text().splitlines()] == [
        *("run tiny", "from 0", "round 1", "validation 1", "end OutOfTime", "run end OutOfTime"),
        *("run tiny", "from 1", "round 2", "validation 2", "round 3", "validation 3"),
        *(f"test {best}", "end NoneType", "run end NoneType"),
    ]
    names = [event for event, _ in events(tmp_path / "deployed")]
    assert [name for name in names if name in ("begun", "resumed", "finished")] == ["begun", "resumed", "finished"]


def test_states_that_nobody_needs_are_removed(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan("ditto", federation={"rounds": 6}), town.grid(tmp_path / "hospitals")
    server_run(plan, grid, tmp_path / "deployed")
    kept = list((tmp_path / "hospitals/CT/state/hospitals/CT/runs").rglob("*.safetensors"))
    assert 1 <= len(kept) <= 4  # of the last two rounds and of the best at two evaluation points


def test_hospitals_on_one_machine_may_name_one_folder_for_their_states(town: Town, tmp_path: Path) -> None:
    plan = town.plan("ditto")
    state = {name: {"state": str(tmp_path / "state")} for name in NAMES}
    found = server_run(plan, town.grid(tmp_path / "hospitals", **state), tmp_path / "deployed")
    assert found == here_played(plan, tmp_path / "here")
