from __future__ import annotations

import io

import pytest
import torch
from helpers import small_arm
from rich.console import Console

from omnifm.callbacks.progress import LiveProgress, StageProgress
from omnifm.core.records import Upload
from omnifm.federation.loop import EvaluationEvent, RoundEvent
from omnifm.tasks.task import Scores


def upload(name: str, loss: float) -> Upload:
    return Upload(name, 4, loss, {"w": torch.zeros(1)})


def shown(*, terminal: bool, name: str = "fedavg") -> str:
    """Play one round of two clients, and return what is on the screen (or in the file) at its end."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120, color_system=None)
    with LiveProgress(console) as live:
        (bar,) = live.watch(name, small_arm("fedavg"))
        bar.round_started(1, ["a", "b"])
        bar.client_done(upload("a", 0.5))
        bar.round_done(RoundEvent(1, 0.1, 0, 0, {}, {}))
        scores = {"a": Scores({"accuracy": 0.25}, {}), "b": Scores({"accuracy": 0.75}, {})}
        bar.evaluated(EvaluationEvent(1, "validation", "before_local_training", scores))
        bar.evaluated(EvaluationEvent(1, "validation", "after_local_training", {"a": Scores({"accuracy": 1.0}, {})}))
        bar.round_started(2, ["a", "b"])
        bar.client_done(upload("a", 0.5))
        bar.client_done(upload("b", 0.125))
    return screen.getvalue()


def test_it_tells_round_clients_loss_and_validation() -> None:
    last = [line for line in shown(terminal=True).splitlines() if "fedavg" in line][-1]
    assert "1/2" in last
    assert "2/2 clients  loss 0.125  accuracy 0.500" in last


def test_a_bar_is_full_when_the_rounds_are_over_early() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    with LiveProgress(console) as live:
        (bar,) = live.watch("fedavg", small_arm("fedavg", federation={"evaluate": ["after_local_training"]}))
        bar.round_started(1, ["a"])
        bar.round_done(RoundEvent(1, 0.1, 0, 0, {}, {}))
        bar.evaluated(EvaluationEvent(1, "validation", "after_local_training", {"a": Scores({"accuracy": 0.25}, {})}))
        bar.client_done(upload("a", 0.5))
        bar.evaluated(EvaluationEvent(1, "test", "after_local_training", {"a": Scores({"accuracy": 1.0}, {})}))
    last = [line for line in screen.getvalue().splitlines() if "fedavg" in line][-1]
    assert "1/1" in last
    assert "accuracy 0.250" in last


@pytest.mark.parametrize("name", ["[red]", "[/]", "[bold]a[/bold]"])
def test_names_are_no_markup(name: str) -> None:
    assert name in shown(terminal=True, name=name)


def test_it_is_quiet_where_nobody_looks() -> None:
    assert shown(terminal=False).strip() == ""


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
