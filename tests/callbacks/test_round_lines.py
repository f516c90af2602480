"""What a log file gets to read of a run."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from events_of import arm_in, evaluation, round_of, start
from rich.console import Console

from omnifm.callbacks.events import ArmInfo, CheckpointEvent
from omnifm.callbacks.round_lines import RoundLines, StageLines


class Clock:
    """Goes on by so many seconds when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def written(play: Callable[[RoundLines, Clock], None]) -> list[str]:
    """Return the lines without their time of day, which each must have."""
    file, clock = io.StringIO(), Clock()
    play(RoundLines(Console(file=file, width=80), clock), clock)
    lines = file.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    return [line[9:] for line in lines]


def play_round(lines: RoundLines, clock: Clock, arm: ArmInfo, number: int, seconds: float) -> None:
    lines.on_round_end(round_of(arm, number, 1.0))
    lines.on_evaluate(evaluation(arm, number, 0.5))
    clock.now += seconds
    lines.on_checkpoint(CheckpointEvent(arm, start(arm, number).checkpoint))


def test_a_private_round_has_no_loss(tmp_path: Path) -> None:
    arm = arm_in(tmp_path)
    private = replace(round_of(arm, 1, 1.0), clients={"CT": {"samples": 10, "epsilon": 0.5}})

    def play(lines: RoundLines, clock: Clock) -> None:
        lines.on_arm_start(start(arm))
        lines.on_round_end(private)
        clock.now += 2.0
        lines.on_checkpoint(CheckpointEvent(arm, start(arm, 1).checkpoint))

    assert written(play)[-1].startswith("fedavg 1/4: 2.0 s")


def test_a_line_a_round_with_the_time_left(tmp_path: Path) -> None:
    arm = arm_in(tmp_path)

    def play(lines: RoundLines, clock: Clock) -> None:
        lines.on_arm_start(start(arm))
        for number, seconds in enumerate((90.0, 100.0, 130.0, 10.0), start=1):
            play_round(lines, clock, arm, number, seconds)

    assert written(play) == [
        "fedavg 1/4: loss 2.000, accuracy 0.500, 90.0 s, 4 min left",
        "fedavg 2/4: loss 2.000, accuracy 0.500, 100.0 s, 3 min left",
        "fedavg 3/4: loss 2.000, accuracy 0.500, 130.0 s, 2 min left",
        "fedavg 4/4: loss 2.000, accuracy 0.500, 10.0 s",
    ]


def test_a_resumed_arm_says_where_it_is(tmp_path: Path) -> None:
    arm = arm_in(tmp_path)

    def play(lines: RoundLines, clock: Clock) -> None:
        lines.on_arm_start(start(arm, 2))
        play_round(lines, clock, arm, 3, 50.0)

    assert written(play) == [
        "fedavg: continues after round 2 of 4",
        "fedavg 3/4: loss 2.000, accuracy 0.500, 50.0 s, 50 s left",
    ]


def test_stages_of_a_comparison_are_told_now_and_then() -> None:
    file, clock = io.StringIO(), Clock()
    lines = StageLines(Console(file=file, width=80), pause=30.0, clock=clock)
    lines.stage("tuning", 10)
    for done in range(11):
        lines.advance_to(done)
        clock.now += 8
    lines.advance_to(10)
    lines.stage("testing", 0)
    assert [line[9:] for line in file.getvalue().splitlines()] == [
        "tuning 0/10",
        "tuning 4/10, 48 s left",
        "tuning 8/10, 16 s left",
        "tuning 10/10, after 80 s",
    ]
