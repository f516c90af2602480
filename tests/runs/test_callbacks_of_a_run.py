"""``[[callbacks]]`` of an experiment file, by the command: who is told what, when it stops, and what may change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diary import known_diary
from small_run import hashes, omnifm, result, write_experiment

FEW = {"rounds": 2, "evaluate_every": 2, "evaluate": ["before_local_training"]}


@pytest.fixture(autouse=True)
def diary() -> Iterator[None]:
    with known_diary():
        yield


def lines(folder: Path) -> list[str]:
    return (folder / "diary").read_text(encoding="utf-8").splitlines()


def experiment(folder: Path, *arms: str, **changes: Any) -> Path:
    callbacks = [{"kind": "diary", "file": str(folder / "diary")}]
    return write_experiment(folder, *arms, **{"federation": FEW, "callbacks": callbacks, **changes})


def test_one_object_receives_events_of_all_arms_from_start_to_end(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert omnifm("run", experiment(tmp_path, "fedavg", "local"), "--out", out, "--workers", 1).status == 0
    each = ("from 0", "round 1", "round 2", "validation 2", "test 2", "end NoneType")
    told = [f"tiny {arm} s0 {event}" for arm in ("fedavg", "local") for event in each]
    assert lines(tmp_path) == ["run tiny", *told, "run end NoneType"]


def test_a_pause_leaves_a_run_that_can_be_resumed_with_other_callbacks(tmp_path: Path) -> None:
    path, out = experiment(tmp_path, "fedavg"), tmp_path / "run"
    paused = omnifm("run", path, "--set", "callbacks.0.pause=2", "--out", out, "--workers", 1)
    assert paused.status == 75
    assert f"It is late. The finished rounds are kept: resume with  omnifm run --resume {out}" in paused.text
    assert lines(tmp_path)[-2:] == ["tiny fedavg s0 end OutOfTime", "run end OutOfTime"]
    assert omnifm("run", "--resume", out, "--workers", 1).status == 75, "without a file they stay as they were"
    (tmp_path / "diary").unlink()
    other = ("--set", f"callbacks.0.file={tmp_path / 'other'}")
    assert omnifm("run", path, *other, "--resume", out, "--workers", 1).status == 0
    assert not (tmp_path / "diary").exists()
    assert "tiny fedavg s0 from 1" in (tmp_path / "other").read_text()
    assert omnifm("run", path, "--set", "callbacks=[]", "--out", tmp_path / "whole", "--workers", 1).status == 0
    assert hashes(out) == hashes(tmp_path / "whole")


def test_a_stop_for_good_is_reported_in_the_result(tmp_path: Path) -> None:
    still = {"learning_rate": 1e-30, "batch_size": 4}
    federation = {"rounds": 9, "evaluate_every": 1, "patience": 1, "evaluate": ["before_local_training"]}
    path = experiment(tmp_path, "fedavg", federation=federation, training=still)
    assert omnifm("run", path, "--out", tmp_path / "run", "--workers", 1).status == 0
    found = result(tmp_path / "run/fedavg")
    assert found["rounds"] < 9
    assert found["stopped"] == "no score has improved in 1 evaluation on validation data"


def test_what_does_not_fit_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    path = experiment(tmp_path)
    for command in ("run", "compare"):
        outcome = omnifm(command, path, "--set", "callbacks.0.kind=dairy", "--out", tmp_path / "x")
        assert outcome.status == 1
        assert "callbacks.0.kind: there is no 'dairy'. Did you mean 'diary'?" in outcome.text
        assert {path.name for path in (tmp_path / "x").glob("*")} <= {".lock"}


def test_an_error_reaches_callbacks_that_must_close_something(tmp_path: Path) -> None:
    huge = ("--set", "training.learning_rate=1e30", "--set", "training.clip_norm=1e30")
    path = experiment(tmp_path, "fedavg")
    assert omnifm("run", path, *huge, "--out", tmp_path / "run", "--workers", 1).status == 1
    assert lines(tmp_path)[-2:] == ["tiny fedavg s0 end NonFiniteLossError", "run end NonFiniteLossError"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_comparison_tells_of_every_cell(tmp_path: Path, workers: int) -> None:
    asked = ("--algorithms", "fedavg", "--seeds", 1, "--workers", workers)
    assert omnifm("compare", experiment(tmp_path, arms={}), *asked, "--out", tmp_path / "out").status == 0
    told = lines(tmp_path)
    assert (told[0], told[-1]) == ("run tiny", "run end NoneType")
    for arm in ("fedavg", "local", "alone"):
        cell = f"tiny cells/{arm}/p0-s0-r100 s0 "
        events = [line.removeprefix(cell) for line in told if line.startswith(cell)]
        train = ["from 0", "round 1", "round 2", "validation 2", "end NoneType"]
        assert events == [*train, "from 2", "test 2", "end NoneType"]
