"""The limit of time: how it is written, and that it ends the rounds before it would be passed."""

from __future__ import annotations

import multiprocessing
import sys

import pytest
from helpers import small_arm

from omnifm.callbacks.callback import Callback, Stop
from omnifm.callbacks.events import CheckpointEvent
from omnifm.callbacks.time_limit import TimeLimit, parse_duration
from omnifm.engines.in_process import InProcess
from omnifm.utils.errors import ExperimentError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661), (" 1.5H ", 5400), ("0.5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30m1h", "-1m", "1d", "0s", "1e3s", "ten", "1 h 30 m", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ExperimentError, match="write it with its units, for example 90s, 30m or 1h30m"):
        parse_duration(text)


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Work(Callback):
    """Lets the rounds take so long, and remembers those whose checkpoint was due."""

    def __init__(self, clock: Clock, seconds: list[float]) -> None:
        self.clock, self.seconds = clock, seconds
        self.kept: list[int] = []

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        number = event.checkpoint.server.round
        self.clock.now += self.seconds[number - 1]
        self.kept.append(number)


def rounds_before(limit: str, seconds: list[float], began: float = 0.0) -> list[int]:
    """Play a run under a limit and return the rounds that were kept."""
    clock, arm = Clock(), small_arm("fedavg", federation={"rounds": len(seconds)})
    time_limit, work = TimeLimit(limit, clock.now - began, clock), Work(clock, seconds)
    with InProcess(arm.runtime) as engine:
        federation = arm.federation(engine, [work, time_limit])
        federation.run(arm.start())
    assert federation.stop == (Stop("Time is up", pause=True) if len(work.kept) < len(seconds) else None)
    return work.kept


@pytest.mark.parametrize(
    ("limit", "seconds", "kept"),
    [
        ("35s", [10.0] * 5, [1, 2, 3]),
        ("30s", [10.0] * 5, [1, 2, 3]),
        ("29s", [10.0] * 5, [1, 2]),
        ("1h", [10.0] * 5, [1, 2, 3, 4, 5]),
        ("40s", [5.0, 20.0, 1.0, 1.0, 1.0], [1, 2]),  # the longest round counts, not the last
        ("1s", [10.0] * 5, [1]),  # one round at least
    ],
)
def test_it_ends_before_the_limit_is_passed(limit: str, seconds: list[float], kept: list[int]) -> None:
    assert rounds_before(limit, seconds) == kept


def test_what_went_before_the_rounds_counts() -> None:
    assert rounds_before("35s", [10.0] * 5, began=10) == [1, 2]


def test_a_limit_that_is_reached_by_the_last_round_ends_nothing() -> None:
    assert rounds_before("20s", [10.0] * 2) == [1, 2]


def test_without_a_limit_there_is_always_time() -> None:
    limit = TimeLimit()
    limit.note(1e9)
    assert not limit.is_over


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork")
def test_processes_share_what_they_know_of_the_rounds() -> None:
    limit = TimeLimit("30s")
    assert not limit.is_over
    process = multiprocessing.get_context("fork").Process(target=limit.note, args=(60.0,))
    process.start()
    process.join()
    assert limit.is_over
