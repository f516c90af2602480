"""What the people of a deployment are told of circles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnifm.algorithms.fedavg import FedAvg
from omnifm.callbacks.events import ArmInfo, ArmStart, RoundEvent
from omnifm.core.checkpoint import Checkpoint
from omnifm.engines.flower.event_log import EventLog
from omnifm.engines.flower.status_log import Events

ARM = ArmInfo(name="omnifm", rounds=9)


def begin(log: EventLog, number: int = 0, circles: Any = None) -> None:
    server = FedAvg().init({}, [], [])
    notes = {} if circles is None else {"report": {"circles": circles}}
    log.on_arm_start(ArmStart(ARM, Checkpoint(replace(server, round=number, notes={**server.notes, **notes}))))


def end(log: EventLog, number: int, **report: Any) -> None:
    clients = {name: {"loss": 1.0, "samples": 4} for name in ("North", "South", "West")}
    log.on_round_end(RoundEvent(ARM, number, seconds=0.1, bytes_down=0, bytes_up=0, clients=clients, report=report))


def status(folder: Path) -> Any:
    return json.loads((folder / "status.json").read_text())["circles"]


def told(folder: Path) -> list[tuple[int, str]]:
    lines = [json.loads(line) for line in (folder / "deploy.jsonl").read_text().splitlines()]
    return [(line["round"], line["text"]) for line in lines if line["event"] == "circles"]


def test_circles_are_told_when_they_change_and_stand_in_the_status(tmp_path: Path) -> None:
    log, circles = EventLog(Events(tmp_path)), {"0": ["North", "South"]}
    begin(log)
    end(log, 1, circles={})
    assert status(tmp_path) == {}
    end(log, 2, circles=circles)
    end(log, 3, circles=circles)
    assert status(tmp_path) == circles
    assert told(tmp_path) == [(2, "omnifm 2/9: North and South now learn together; West is alone")]


def test_a_resumed_run_knows_its_circles_and_another_arm_has_none(tmp_path: Path) -> None:
    log, circles = EventLog(Events(tmp_path)), {"0": ["North", "South"]}
    begin(log, 3, circles)
    assert status(tmp_path) == circles
    end(log, 4, circles=circles)
    assert told(tmp_path) == []
    begin(log)
    assert status(tmp_path) is None
    end(log, 1)
    assert status(tmp_path) is None
