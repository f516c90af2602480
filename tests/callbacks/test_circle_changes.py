"""What people are told of circles: only what changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from events_of import arm_in, start

from omnifm.callbacks.circle_changes import CircleChanges
from omnifm.callbacks.events import ArmInfo, ArmStart, RoundEvent

CLIENTS = ("T2-1", "T2-2", "T2-3", "CT-1", "PET-1")


def round_with(number: int, circles: Any, clients: tuple[str, ...] = CLIENTS) -> RoundEvent:
    trained = {name: {"loss": 1.0, "samples": 4} for name in clients}
    report = {} if circles is None else {"circles": circles}
    return RoundEvent(ArmInfo(), number, seconds=0.1, bytes_down=0, bytes_up=0, clients=trained, report=report)


def told(*rounds: Any) -> list[str]:
    changes = CircleChanges()
    return [changes.after(round_with(number, circles)) for number, circles in enumerate(rounds, start=1)]


def start_with(tmp_path: Path, number: int, circles: Any) -> ArmStart:
    event = start(arm_in(tmp_path), number)
    server = replace(event.checkpoint.server, notes={"report": {"circles": circles}})
    return replace(event, checkpoint=replace(event.checkpoint, server=server))


def test_who_comes_together_and_who_is_alone() -> None:
    assert told({}, {"0": ["T2-1", "T2-2", "T2-3"], "1": ["CT-1", "PET-1"]}, {"0": ["T2-1", "T2-2", "T2-3"]}) == [
        "",
        "T2-1, T2-2 and T2-3 now learn together; CT-1 and PET-1 now learn together",
        "CT-1 and PET-1 are each alone",
    ]


def test_who_has_found_nobody_is_named_when_the_first_circles_come() -> None:
    rounds = told({}, {"0": ["T2-1", "T2-2"]}, {"0": ["T2-1", "T2-2", "T2-3"]}, {"0": ["T2-1", "T2-3"]})
    assert rounds == [
        "",
        "T2-1 and T2-2 now learn together; T2-3, CT-1 and PET-1 are each alone",
        "T2-1, T2-2 and T2-3 now learn together",
        "T2-1 and T2-3 now learn together; T2-2 is alone",
    ]


def test_what_stays_is_not_told_again() -> None:
    assert told({"0": ["T2-1", "T2-2"]}, {"0": ["T2-2", "T2-1"]}, {"0": ["T2-1", "T2-2"]})[1:] == ["", ""]


@pytest.mark.parametrize("circles", [None, {}])
def test_without_circles_nothing_is_told(circles: Any) -> None:
    assert told(circles, circles) == ["", ""]


def test_of_many_clients_the_sizes_are_told() -> None:
    assert told([], [30, 40], [40, 30], [41, 29, 2], []) == [
        "",
        "2 circles of 40 and 30 clients",
        "",
        "3 circles of 41, 29 and 2 clients",
        "all clients are alone",
    ]


def test_a_long_circle_is_cut_short() -> None:
    names = [f"H{number}" for number in range(40)]
    (text,) = told({"0": names})
    assert "H11 and 28 others now learn together" in text
    assert "H12" not in text


def test_a_resumed_run_does_not_tell_again_what_its_checkpoint_knows(tmp_path: Path) -> None:
    changes, circles = CircleChanges(), {"0": ["T2-1", "T2-2"]}
    assert changes.restart(start_with(tmp_path, 3, circles)) == circles
    assert changes.after(round_with(4, circles)) == ""
    assert changes.after(round_with(5, {})) == "T2-1 and T2-2 are each alone"


def test_declared_circles_are_told_after_the_first_round(tmp_path: Path) -> None:
    changes, circles = CircleChanges(), {"0": ["T2-1", "T2-2"]}
    changes.restart(start_with(tmp_path, 0, circles))
    assert changes.after(round_with(1, circles)).startswith("T2-1 and T2-2 now learn together")
