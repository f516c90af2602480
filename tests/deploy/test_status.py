"""What ``omnifm deploy status`` shows of SuperLink and run."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from live import make_deployment
from rich.console import Console
from small_run import omnifm

from omnifm.deploy.event_lines import last_events
from omnifm.deploy.status import ago, circle_lines, client_table, latest_run, read_status, where_it_is
from omnifm.engines.flower.control import RegisteredNode
from omnifm.engines.flower.status_log import Events
from omnifm.utils.errors import DeploymentError

NOW = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder as the engine writes it."""
    events = Events(tmp_path)
    events.log("there", "North", "24 training samples")
    events.log("gone", "South", "its node is no longer connected")
    events.update_status({"North": {"there": True, "train": 24, "round": 2, "seconds": 5.25, "trouble": ""}})
    events.update_status({"South": {"there": False, "train": 36, "round": 1, "trouble": "it went away"}})
    events.update_status(phase="training", arm="omnifm", round=2, rounds=10)
    return tmp_path


def text(table: Any) -> list[list[str]]:
    console = Console(width=200, record=True)
    console.print(table)
    lines = [line for line in console.export_text().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_the_table_joins_what_superlink_and_run_tell(run: Path) -> None:
    nodes = {
        "North": RegisteredNode(1, "North", status="online", since=NOW - timedelta(hours=2), public_key=b""),
        "South": RegisteredNode(2, "South", status="offline", since=NOW - timedelta(seconds=90), public_key=b""),
        "West": RegisteredNode(3, "West", status="registered", since=None, public_key=b""),
    }
    assert text(client_table(nodes, read_status(run)["hospitals"], NOW)) == [
        ["North", "connected", "2 hours ago", "24", "2", "5.25", ""],
        ["South", "gone", "1 minute ago", "36", "1", "", "it went away"],
        ["West", "never seen", "", "", "", "", ""],
    ]


def test_without_the_superlink_the_run_tells_who_is_there(run: Path) -> None:
    rows = text(client_table({}, read_status(run)["hospitals"], NOW))
    assert [row[:2] for row in rows] == [["North", "connected"], ["South", "gone"]]
    rows = text(client_table(None, read_status(run)["hospitals"], NOW))
    assert [row[:2] for row in rows] == [["North", "not known"], ["South", "not known"]]


def test_the_circles_are_reported() -> None:
    known: dict[str, dict[str, Any]] = {
        "North": {"round": 2},
        "South": {"round": 2},
        "West": {"round": 1},
        "New": {"there": True},
    }
    circles = {"0": ["North", "South"]}
    rows = text(client_table({}, known, NOW, circles))
    assert {row[0]: row[6] for row in rows} == {"New": "", "North": "0", "South": "0", "West": "alone"}
    assert circle_lines(circles) == ["Circle 0: North and South learn together."]
    assert circle_lines([30, 40]) == ["2 circles that learn together, of 40 and 30 hospitals."]
    none: Any
    for none in (None, {}, []):
        assert circle_lines(none) == []
        assert len(text(client_table({}, known, NOW, none))[0]) == len(rows[0]) - 1


def test_the_round_is_reported(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = read_status(run)
    then = datetime.fromisoformat(status["updated"])
    line = f"{run}: training, omnifm: round 2 of 10; last heard of 3 minutes ago"
    again = f"It was stopped: resume with  omnifm deploy run OPERATOR --resume {run.name}"
    assert where_it_is(run, status, then + timedelta(minutes=3)) == f"{line}. {again}"
    monkeypatch.setattr("omnifm.deploy.status.is_held", lambda folder: folder == run)
    assert where_it_is(run, status, then + timedelta(minutes=3)) == line


def test_the_last_events_are_reported_but_not_half_of_one(run: Path) -> None:
    with (run / "deploy.jsonl").open("a") as file:
        file.write('{"time": "2030')
    assert [line[25:].strip() for line in last_events(run, 1)] == ["South: gone: its node is no longer connected"]
    assert len(last_events(run, 8)) == 2
    assert last_events(run, 0) == []


def test_the_latest_run_is_taken(tmp_path: Path) -> None:
    assert latest_run(tmp_path / "runs") is None
    for age, name in ((20, "old"), (10, "new"), (30, "older")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        Events(folder).update_status(phase="finished")
        os.utime(folder / "status.json", (1e9 - age, 1e9 - age))
    assert latest_run(tmp_path / "runs") == tmp_path / "runs/new"


def test_the_command_on_a_server_whose_superlink_is_down(tmp_path: Path) -> None:
    plan = make_deployment(tmp_path / "deployment", "North")
    folder = tmp_path / "deployment/server"
    alone = omnifm("deploy", "status", folder)
    assert alone.status == 1
    assert f"https://127.0.0.1:{plan.ports.superlink} cannot be reached" in alone.text
    (Path(plan.state) / "runs/one").mkdir(parents=True)
    stand = {"phase": "training", "round": 1, "rounds": 2, "circles": {"3": ["North", "South"]}}
    Events(Path(plan.state) / "runs/one").update_status({"North": {"there": True}}, **stand)
    outcome = omnifm("deploy", "status", folder)
    assert outcome.status == 0
    assert "cannot be reached" in outcome.text
    assert "North" in outcome.text
    assert "round 1 of 2" in outcome.text
    assert "Circle 3: North and South learn together." in outcome.text


def test_a_folder_that_holds_no_deployed_run(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="holds no deployed run"):
        read_status(tmp_path)
    (tmp_path / "status.json").write_text(json.dumps({})[:1])
    with pytest.raises(DeploymentError, match="cannot be read"):
        read_status(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s ago"), (59, "59 s ago"), (60, "1 minute ago"), (7200, "2 hours ago"), (1e5, "1 day ago")],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words


EVIL = "North\x1b[2J\nSouth: all is well\u202e"


def test_what_others_wrote_does_not_control_the_operators_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = Events(tmp_path)
    with caplog.at_level("INFO", logger="omnifm.deploy"):
        events.log("unwelcome", EVIL, f"refused: {EVIL}")
    events.update_status({EVIL: {"there": True, "trouble": EVIL}}, circles={"0": [EVIL, "South"]})
    console = Console(width=300, record=True)
    console.print(client_table(None, read_status(tmp_path)["hospitals"], NOW))
    shown = [console.export_text(), caplog.messages[0], *last_events(tmp_path, 8)]
    for one in shown:
        assert r"North\x1b[2J\nSouth: all is well\u202e" in one
        assert not {"\x1b", "\u202e"} & set(one)
    assert len(shown) == 3


def test_lines_that_are_no_events_are_left_out(run: Path) -> None:
    with (run / "deploy.jsonl").open("ab") as file:
        file.write(b"null\n[1]\n" + b"[" * 100_000 + b'\n{"event": 3, "client": ["x"]}\n\xff\n')
    assert last_events(run, 3)[-1].endswith("['x']: 3")


def test_a_status_that_is_nested_deeply_is_named(run: Path) -> None:
    (run / "status.json").write_text("[" * 100_000)
    with pytest.raises(DeploymentError, match=r"status\.json cannot be read"):
        read_status(run)


def test_the_epsilon_spent_is_shown_where_there_is_one() -> None:
    table = client_table(None, {"North": {"round": 2, "epsilon": 1.234}, "South": {"round": 2}}, NOW)
    column = next(one for one in table.columns if one.header == "epsilon")
    assert list(column.cells) == ["1.234", ""]
    assert "epsilon" not in [one.header for one in client_table(None, {"South": {"round": 2}}, NOW).columns]
