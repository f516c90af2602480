from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from helpers import small_arm
from rich.console import Console

from omnifm.callbacks.events import (
    ArmInfo,
    ArmStart,
    EvaluationEvent,
    RoundEvent,
    RoundStart,
    RunEnd,
    RunInfo,
    UploadEvent,
)
from omnifm.callbacks.progress import LiveProgress, StageProgress
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Upload
from omnifm.tasks.task import Scores


def uploaded(arm: ArmInfo, number: int, name: str, loss: float) -> UploadEvent:
    return UploadEvent(arm, number, Upload(name, 4, loss, {"w": torch.zeros(1)}))


def evaluated(arm: ArmInfo, split: Split, point: EvaluationPoint, *scores: float) -> EvaluationEvent:
    found = {str(number): Scores({"accuracy": score}, {}) for number, score in enumerate(scores)}
    return EvaluationEvent(arm, 1, split=split, point=point, scores=found)


def started(live: LiveProgress, name: str, **federation: Any) -> ArmInfo:
    arm = small_arm("fedavg", federation=federation)
    live.on_arm_start(ArmStart(arm.info(name=name), arm.start()))
    return arm.info(name=name)


def shown(*, terminal: bool, name: str = "fedavg") -> str:
    """Play one round of two clients, and return what is on the screen (or in the file) at its end."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120, color_system=None)
    with LiveProgress(console) as live:
        arm = started(live, name)
        live.on_round_start(RoundStart(arm, 1, ["a", "b"]))
        live.on_upload(uploaded(arm, 1, "a", 0.5))
        live.on_round_end(RoundEvent(arm, 1, seconds=0.1, bytes_down=0, bytes_up=0, clients={}, report={}))
        live.on_evaluate(evaluated(arm, "validation", "before_local_training", 0.25, 0.75))
        live.on_evaluate(evaluated(arm, "validation", "after_local_training", 1.0))
        live.on_round_start(RoundStart(arm, 2, ["a", "b"]))
        live.on_upload(uploaded(arm, 2, "a", 0.5))
        live.on_upload(uploaded(arm, 2, "b", 0.125))
    return screen.getvalue()


def test_it_tells_round_clients_loss_and_validation() -> None:
    last = [line for line in shown(terminal=True).splitlines() if "fedavg" in line][-1]
    assert "1/2" in last
    assert "2/2 clients  loss 0.125  accuracy 0.500" in last


def test_until_the_rounds_begin_the_data_are_being_read() -> None:
    screen = io.StringIO()
    with LiveProgress(Console(file=screen, force_terminal=True, width=120, color_system=None)) as live:
        live.on_run_start(RunInfo())
        live.refresh()
        assert "reading the data" in screen.getvalue()
        live.on_run_end(RunEnd(RunInfo()))
        assert not live.tasks
        live.on_run_start(RunInfo())
        started(live, "fedavg")
        assert [task.description for task in live.tasks] == ["fedavg"]
        started(live, "omnifm")
        assert [task.description for task in live.tasks] == ["fedavg", "omnifm"]


def test_a_bar_is_full_when_the_rounds_are_over_early() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with LiveProgress(console) as live:
        arm = started(live, "fedavg", evaluate=["after_local_training"])
        live.on_round_start(RoundStart(arm, 1, ["a"]))
        live.on_round_end(RoundEvent(arm, 1, seconds=0.1, bytes_down=0, bytes_up=0, clients={}, report={}))
        live.on_evaluate(evaluated(arm, "validation", "after_local_training", 0.25))
        live.on_upload(uploaded(arm, 1, "a", 0.5))
        live.on_evaluate(evaluated(arm, "test", "after_local_training", 1.0))
    last = [line for line in screen.getvalue().splitlines() if "fedavg" in line][-1]
    assert "1/1" in last
    assert "accuracy 0.250" in last


@pytest.mark.parametrize("terminal", [True, False])
def test_changes_of_circles_are_told_where_somebody_looks(terminal: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120, color_system=None)
    with LiveProgress(console) as live:
        arm = started(live, "omnifm")
        for number, circles in enumerate([{}, {"0": ["a", "[b]"]}, {"0": ["a", "[b]"]}], start=1):
            clients = {name: {"loss": 1.0, "samples": 1} for name in ("a", "[b]", "c")}
            about: dict[str, Any] = {"seconds": 0.1, "bytes_down": 0, "bytes_up": 0, "report": {"circles": circles}}
            live.on_round_end(RoundEvent(arm, number, clients=clients, **about))
    lines = [line for line in screen.getvalue().splitlines() if "learn together" in line]
    text = "omnifm, round 2: a and [b] now learn together; c is alone."
    assert [line.strip().endswith(text) for line in lines] == [True] * terminal


@pytest.mark.parametrize("name", ["[red]", "[/]", "[bold]a[/bold]"])
def test_names_are_no_markup(name: str) -> None:
    assert name in shown(terminal=True, name=name)


def test_it_is_quiet_where_nobody_looks() -> None:
    assert shown(terminal=False).strip() == ""


def test_every_arm_has_a_bar_and_a_score_of_its_own() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with LiveProgress(console) as live:
        first = started(live, "first")
        live.on_round_end(RoundEvent(first, 1, seconds=0.1, bytes_down=0, bytes_up=0, clients={}, report={}))
        live.on_evaluate(evaluated(first, "validation", "before_local_training", 0.5))
        second = started(live, "second")
        live.on_upload(uploaded(second, 1, "a", 0.5))
    lines = screen.getvalue().splitlines()
    assert "1/2" in [line for line in lines if "first" in line][-1]
    assert "0/2" in [line for line in lines if "second" in line][-1]
    assert "accuracy" not in [line for line in lines if "second" in line][-1]


def test_stages_of_a_comparison_and_the_time_that_is_left() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with StageProgress(console) as live:
        live.stage("tuning", 10)
        live.advance_to(4)
        live.stage("playing", 6)
        live.advance_to(6)
        live.stage("testing", 3)
    lines = screen.getvalue().splitlines()
    assert "10/10" in [line for line in lines if "tuning" in line][-1]
    assert "6/6" in [line for line in lines if "playing" in line][-1]
    assert "0/3" in [line for line in lines if "testing" in line][-1]
    assert "-:--:--" in [line for line in lines if "testing" in line][-1]
