"""A run over letters ends with the weights of the same run in one process, whatever happens on the way."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from diary import known_diary
from fake_grid import FakeGrid, write_client_config
from messenger import messenger_known
from plugin import EVENTS, installed, write_plugin
from small_run import document, hashes, log_lines, write_images

from omnifm.checkpoint.file import digest
from omnifm.checkpoint.weight_file import read_weights, write_weights
from omnifm.config.experiment import Plan, make_plan
from omnifm.core.records import Broadcast
from omnifm.engines.flower import client_manager, server, transport
from omnifm.engines.flower.client_handler import ClientHandler
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.membership import read_membership
from omnifm.engines.flower.transport import GridTransport
from omnifm.engines.in_process import InProcess
from omnifm.export.loaded_arm import LoadedArm
from omnifm.export.weights import export_arm
from omnifm.federation.loop import NO_MESSAGES, Messages
from omnifm.runs import run as runs
from omnifm.runs.backend import LocalBackend
from omnifm.utils.errors import DeploymentError, ExperimentError, FolderInUseError, OutOfTime
from omnifm.utils.signals import Interrupted, cooperative, interruptible

pytestmark = pytest.mark.slow

NAMES = ("CT", "MRI", "PET")
FOLDERS = dict(zip("abc", NAMES, strict=True))
BOTH = {"evaluate": ["before_local_training", "after_local_training"]}
FOUR = ("fedavg", "scaffold", "ditto", "omnifm")


@dataclass
class Town:
    """Hospitals with data, and an experiment in which all of them take part."""

    root: Path
    sources: list[dict[str, Any]]

    def plan(self, *arms: str, **changes: Any) -> Plan:
        content = document(self.root / "data", self.sources, *arms)
        content["federation"] |= {"rounds": 3, "evaluate_every": 1, "evaluate": ["before_local_training"]}
        content["deploy"] = {"hospitals": list(NAMES), "poll": 0.001, **changes.pop("deploy", {})}
        for key, value in changes.items():
            content[key] = {**content.get(key, {}), **value}
        return make_plan(content)

    def grid(self, folder: Path, **changes: Any) -> FakeGrid:
        """Return a grid of hospitals that keep their states in a folder; ``changes`` are by hospital."""
        return FakeGrid(
            {
                source["modality"]: write_client_config(
                    folder,
                    source["modality"],
                    **{
                        "data": {"root": str(self.root / "data"), "sources": [source]},
                        **changes.get(source["modality"], {}),
                    },
                )
                for source in self.sources
            }
        )


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    root = tmp_path_factory.mktemp("town")
    return Town(root, write_images(root / "data", FOLDERS))


def server_run(plan: Plan | None, grid: FakeGrid, out: Path, resume: bool = False) -> dict[str, str]:
    def make_transport(settings: DeploySettings) -> GridTransport:
        return GridTransport(grid, settings.max_bytes, 100.0)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "ClientManager", partial(client_manager.ClientManager, clock=grid.time))
        server.run_server(plan, out, resume, make_transport)
    return hashes(out)


class Missing(InProcess):
    """Some hospitals miss some rounds."""

    missed: frozenset[tuple[str, int]] = frozenset()

    def update(self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES) -> Any:
        there = [name for name in clients if (name, broadcast.round) not in self.missed]
        return super().update(broadcast, there, messages)


class Here(LocalBackend):
    def __init__(self, missed: Sequence[tuple[str, int]] = ()) -> None:
        super().__init__()
        self.missed = frozenset(missed)

    def engine(self, name: str, arm: Any, checkpoints: Any) -> InProcess:
        engine = Missing(arm.runtime, 1, checkpoints.states)
        engine.missed = self.missed
        return engine


def here_played(plan: Plan, out: Path, missed: Sequence[tuple[str, int]] = ()) -> dict[str, str]:
    runs.execute(runs.create(out, plan), out, Here(missed))
    return hashes(out)


def events(out: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in (out / "deploy.jsonl").read_text().splitlines()]
    return [(line["event"], line.get("client", "")) for line in lines]


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
        return [{**line, "seconds": 0} for line in lines]

    for arm in ("messenger", "omnifm"):
        assert rounds(tmp_path / "deployed" / arm) == rounds(tmp_path / "here" / arm)


def test_what_a_package_names_as_entry_points_works_at_server_and_hospitals(town: Town, tmp_path: Path) -> None:
    changes = {"fairest": {"q": 2.0}, "aggregation": {"rule": "largest"}}
    diary = {"kind": "every-event", "file": str(tmp_path / "diary")}
    policy: dict[str, Any] = {"tasks": ["*"], "algorithms": ["fairest"], "minimum_samples": 1}
    with installed(write_plugin(tmp_path / "plugin")):
        plan = town.plan("fairest", **changes)
        here = here_played(plan, tmp_path / "here")
        told, grid = make_plan({**plan.document, "callbacks": [diary]}), town.grid(tmp_path / "a", **_each(policy))
        assert server_run(told, grid, tmp_path / "deployed") == here
        grid = town.grid(tmp_path / "b", **_each({**policy, "algorithms": ["fedavg"]}))
        with pytest.raises(DeploymentError, match=r"refused: The algorithm 'fairest' is not permitted here"):
            server_run(plan, grid, tmp_path / "refused")
    assert here != here_played(town.plan("fedavg"), tmp_path / "plain")
    assert set((tmp_path / "diary").read_text().split()) == EVENTS


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
def test_a_hospital_that_misses_a_round_goes_on_from_its_state(town: Town, tmp_path: Path, algorithm: str) -> None:
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
    with pytest.raises(ExperimentError, match="What is CT's own has stayed with it"):
        export_arm(LoadedArm.of(tmp_path / "deployed", plan), "CT", tmp_path / "own")


class Killed(BaseException):
    """The server is killed."""


@pytest.mark.parametrize(("group", "algorithm"), [("round 1", "ditto"), ("round 3", "omnifm"), ("round 4", "scaffold")])
def test_a_killed_server_goes_on(town: Town, tmp_path: Path, group: str, algorithm: str) -> None:
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


def test_callbacks_of_the_experiment_are_told_on_the_server(town: Town, tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("restored_signals")
@pytest.mark.parametrize("group", ["hello", "round 1", "round 3"])
def test_a_server_that_is_asked_to_end_while_it_waits_goes_on_later(town: Town, tmp_path: Path, group: str) -> None:
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
def test_one_that_waits_for_hospitals_who_went_away_can_be_asked_to_end(town: Town, tmp_path: Path) -> None:
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


def test_states_that_nobody_needs_are_removed(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan("ditto", federation={"rounds": 6}), town.grid(tmp_path / "hospitals")
    server_run(plan, grid, tmp_path / "deployed")
    kept = list((tmp_path / "hospitals/CT/state/hospitals/CT/runs").rglob("*.safetensors"))
    assert 1 <= len(kept) <= 4  # of the last two rounds and of the best at two evaluation points


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
    assert "13 samples are more than it has" in (tmp_path / "deployed/deploy.jsonl").read_text()


def test_too_few_answers_end_the_run_and_say_why(town: Town, tmp_path: Path) -> None:
    plan = town.plan("omnifm", deploy=ALL_THERE)
    policy = {"tasks": ["*"], "algorithms": ["fedavg"], "minimum_samples": 1}
    grid = town.grid(tmp_path / "hospitals", MRI={"policy": policy})
    with pytest.raises(DeploymentError, match=r"Round 1: 3 answers are needed.*MRI: refused: The algorithm 'omnifm'"):
        server_run(plan, grid, tmp_path / "deployed")
    audit_log = (tmp_path / "hospitals/MRI/state/hospitals/MRI/audit.jsonl").read_text()
    assert "'omnifm' is not permitted here" in audit_log


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


def test_hospitals_on_one_machine_may_name_one_folder_for_their_states(town: Town, tmp_path: Path) -> None:
    plan = town.plan("ditto")
    state = {name: {"state": str(tmp_path / "state")} for name in NAMES}
    found = server_run(plan, town.grid(tmp_path / "hospitals", **state), tmp_path / "deployed")
    assert found == here_played(plan, tmp_path / "here")


def test_one_who_is_not_among_them_is_refused(town: Town, tmp_path: Path) -> None:
    plan = town.plan("fedavg", deploy={"hospitals": ["CT", "MRI"]})
    server_run(plan, town.grid(tmp_path / "hospitals"), tmp_path / "deployed")
    result = json.loads((tmp_path / "deployed/fedavg/result.json").read_text())
    assert list(result["clients"]) == ["CT", "MRI"]
    stand = json.loads((tmp_path / "deployed/status.json").read_text())
    assert "not among the hospitals of this run" in stand["hospitals"]["PET"]["trouble"]


def test_one_who_goes_by_the_name_of_another_key_is_refused(town: Town, tmp_path: Path) -> None:
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
