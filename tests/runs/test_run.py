"""Runs from start to end: what they leave, that they repeat, and what a crash costs."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import (
    ROUNDS,
    Process,
    ended,
    halted,
    hashes,
    living,
    log_lines,
    omnifm,
    reached,
    result,
    wait_until,
    write_experiment,
)

from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.checkpoint.file import read_checkpoint
from omnifm.tasks.classification import Classification

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="module")
def whole(experiment: Path) -> Path:
    """A run that nothing interrupted."""
    out = experiment.parent / "whole"
    assert omnifm("run", experiment, "--out", out, "--workers", 1).status == 0
    return out


def stop_after(out: Path, rounds: int, monkeypatch: pytest.MonkeyPatch, experiment: Path) -> None:
    """Run until the disk is full at the checkpoint of the round after ``rounds``."""
    with monkeypatch.context() as patch:
        fill_disk(patch, f"round-{rounds + 1:06d}.safetensors")
        assert omnifm("run", experiment, "--out", out, "--workers", 1).status == 1


def fill_disk(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let there be no room from the moment that a file of this name is to be written."""
    sync, full = os.fsync, False

    def fsync(descriptor: int) -> None:
        nonlocal full
        full = full or name in str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    patch.setattr(os, "fsync", fsync)


def test_the_folder_holds_all_that_is_promised(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == {
        "experiment.toml",
        "versions.json",
        ".lock",
        "report.html",
        "results.csv",
        "table.csv",
        "table.txt",
        "table.tex",
        "data",
        "fedavg",
        "omnifm",
    }
    for arm in ("fedavg", "omnifm"):
        assert {str(path.relative_to(whole / arm)) for path in (whole / arm).rglob("*") if path.parent.name == arm} == {
            "experiment.toml",
            "data.json",
            "metrics.jsonl",
            "checkpoints",
            "result.json",
            "pictures",
        } | ({"models"} if arm == "omnifm" else set())
        assert {path.name for path in (whole / arm / "checkpoints").iterdir()} == {
            f"round-{ROUNDS - 1:06d}.safetensors",
            f"round-{ROUNDS:06d}.safetensors",
            "best-before_local_training.safetensors",
            "best-after_local_training.safetensors",
        } | ({"clients"} if arm == "omnifm" else set())
        found = result(whole / arm)
        assert (found["arm"], found["algorithm"], found["label_names"]) == (arm, arm, ["left", "right"])
        assert found["clients"]["MRI"] == {"group": "MRI", "train": 12, "validation": 4, "test": 4}
        assert list(found["test"]) == ["before_local_training", "after_local_training"]
        assert set(found["test"]["before_local_training"]) == {"CT", "MRI", "PET"}
        panels = [panel["given"][0]["file"] for shown in found["panels"].values() for panel in shown]
        assert len(set(panels)) == 12
        assert all((whole / arm / panel).is_file() for panel in panels)
    versions = json.loads((whole / "versions.json").read_text())
    assert {"started", "python", "platform", "omnifm", "torch"} <= versions.keys()


def test_every_line_of_the_log_has_its_time(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "fedavg/metrics.jsonl").read_text().splitlines()]
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert time.time() - 3600 < times[0] <= times[-1] < time.time() + 1


def test_the_log_tells_every_round_and_evaluation_once(whole: Path) -> None:
    points = ("before_local_training", "after_local_training")
    lines: list[tuple[Any, ...]] = []
    for number in range(1, ROUNDS + 1):
        lines.append(("round", number, None, None))
        if number % 2 == 0:
            lines += [("evaluation", number, "validation", point) for point in points]
    best = result(whole / "fedavg")["best"]
    lines += [("evaluation", best[point][0], "test", point) for point in points]
    assert log_lines(whole / "fedavg") == lines


@linux
def test_again_and_with_two_workers_it_is_the_same(experiment: Path, whole: Path) -> None:
    other = experiment.parent / "again"
    # From the experiment file of the first run: the run's folder has all that is needed.
    assert omnifm("run", whole / "experiment.toml", "--out", other, "--workers", 2).status == 0
    assert hashes(other) == hashes(whole)
    assert len(set(hashes(whole).values())) == 2
    for arm in ("fedavg", "omnifm"):
        assert result(other / arm) == result(whole / arm)


def test_another_seed_is_another_run(experiment: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    changes = ("--set", "seed=1", "--set", "federation.rounds=1", "--set", "arms.omnifm.federation.rounds=1")
    assert omnifm("run", experiment, "--out", out, "--workers", 1, *changes).status == 0
    _, here = read_checkpoint(out / "fedavg/checkpoints/round-000001.safetensors")
    assert here["server"]["round"] == 1
    assert hashes(out)["fedavg"] != hashes(whole)["fedavg"]


@linux
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_again_and_again_it_ends_the_same(experiment: Path, whole: Path, tmp_path: Path, workers: int) -> None:
    out, dice, left = tmp_path / "run", random.Random(workers), []
    places = [("fedavg", dice.randint(1, 2)), ("fedavg", dice.randint(3, 4)), ("omnifm", dice.randint(1, 4))]
    for number, (arm, place) in enumerate(places):
        start = ["--resume", out] if number else [experiment, "--out", out]
        with ended(Process(tmp_path / "log", "run", *start, "--workers", workers)) as process:
            wait_until(reached(out / arm, place), process)
            time.sleep(dice.uniform(0, 0.1))
            left += halted(process.pid)
    finished = {path: path.read_bytes() for path in (out / "fedavg").rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in finished}
    outcome = omnifm("run", "--resume", out, "--workers", 1)
    assert outcome.status == 0, outcome.text
    assert hashes(out) == hashes(whole)
    assert {path: path.stat().st_mtime_ns for path in finished} == times, "a finished arm was touched"
    for arm in ("fedavg", "omnifm"):
        assert log_lines(out / arm) == log_lines(whole / arm)
        assert result(out / arm)["test"] == result(whole / arm)["test"]
    assert len(left) == (0 if workers == 1 else 6)
    wait_until(lambda: not any(map(living, left)), seconds=5)


@linux
def test_workers_end_with_the_main_process(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ended(Process(tmp_path / "log", "run", experiment, "--out", out, "--workers", 2)) as process:
        wait_until(reached(out / "fedavg", 1), process)
        workers = halted(process.pid)
        os.kill(process.pid, signal.SIGKILL)
    assert len(workers) == 2
    wait_until(lambda: not any(map(living, workers)), seconds=5)


def test_a_kill_while_testing_leaves_no_line_twice(experiment: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "omnifm" / "result.json").unlink()
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert log_lines(out / "omnifm") == log_lines(whole / "omnifm")
    assert result(out / "omnifm") == result(whole / "omnifm")


def test_a_damaged_best_round_costs_its_arm(experiment: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "omnifm" / "result.json").unlink()
    best = out / "omnifm/checkpoints/best-before_local_training.safetensors"
    best.write_bytes(best.read_bytes()[:-1])
    outcome = omnifm("run", "--resume", out, "--workers", 1)
    assert outcome.status == 1
    assert f"{best} is damaged" in outcome.text
    assert f"Remove the folder {out / 'omnifm'} and resume" in outcome.text
    shutil.rmtree(out / "omnifm")
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


def test_resuming_clears_what_a_kill_left_half_written(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    stray = out / "omnifm/checkpoints/.round-000003.safetensors.123.tmp"
    stray.write_bytes(b"half")
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert not stray.exists()


def test_what_a_killed_worker_left_half_written_goes_at_the_end(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = ClientStateStore.fsync

    def littered(self: ClientStateStore, files: Any) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / ".state.safetensors.123.tmp").write_bytes(b"half")
        settle(self, files)

    monkeypatch.setattr(ClientStateStore, "fsync", littered)
    out = tmp_path / "run"
    assert omnifm("run", experiment, "--out", out, "--workers", 1).status == 0
    assert not list(out.rglob("*.tmp"))


def test_the_end_of_a_run_leaves_the_report_that_another_process_is_writing(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    settle = ClientStateStore.fsync

    def joined(self: ClientStateStore, files: Any) -> None:
        (out / ".report.html.123.tmp").write_bytes(b"half")
        settle(self, files)

    monkeypatch.setattr(ClientStateStore, "fsync", joined)
    assert omnifm("run", experiment, "--out", out, "--workers", 1).status == 0
    assert [path.name for path in out.rglob("*.tmp")] == [".report.html.123.tmp"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_damaged_checkpoint_costs_one_round(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    out = tmp_path / "run"
    stop_after(out, 4, monkeypatch, experiment)
    newest = out / "fedavg/checkpoints/round-000004.safetensors"
    data = bytearray(newest.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    newest.write_bytes(data if damage == "flipped" else data[: len(data) // 2] if damage == "cut" else b"")
    outcome = omnifm("run", "--resume", out, "--workers", 1)
    assert outcome.status == 0
    assert f"{newest} is damaged" in outcome.text
    assert "Going back to the one before it." in outcome.text
    assert "Traceback" not in outcome.text
    assert hashes(out) == hashes(whole)
    assert log_lines(out / "fedavg") == log_lines(whole / "fedavg")


def test_without_a_sound_checkpoint_it_says_so(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    stop_after(out, 2, monkeypatch, experiment)
    for path in (out / "fedavg/checkpoints").glob("round-*"):
        path.write_bytes(b"rubbish")
    outcome = omnifm("run", "--resume", out)
    assert outcome.status == 1
    assert f"All checkpoints in {out / 'fedavg/checkpoints'} are damaged. Start a new run." in outcome.text
    assert "Traceback" not in outcome.text


def test_a_changed_experiment_is_not_resumed(whole: Path, experiment: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("[!.]*")}
    changed = experiment.with_name("changed.toml")
    changed.write_text(experiment.read_text().replace("batch_size = 4", "batch_size = 8"))
    outcome = omnifm("run", changed, "--resume", whole)
    assert outcome.status == 1
    assert f"The experiment is not that of {whole}" in outcome.text
    assert "fedavg.training.batch_size: 4 then, 8 now" in outcome.text
    assert "Resume without an experiment file to continue the old one, or start a new run." in outcome.text
    assert "Traceback" not in outcome.text
    outcome = omnifm("run", experiment, "--resume", whole, "--set", "arms.local.algorithm=local")
    assert outcome.status == 1
    assert "local: not there then, there now" in outcome.text
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("[!.]*")} == before


def test_the_same_experiment_may_be_named_on_resuming(whole: Path, experiment: Path) -> None:
    assert omnifm("run", experiment, "--resume", whole).status == 0


def test_a_full_disk_keeps_the_rounds_before(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        fill_disk(patch, "round-000003.safetensors")
        outcome = omnifm("run", experiment, "--out", out, "--workers", 1)
    assert outcome.status == 1
    assert str(out / "fedavg/checkpoints/round-000003.safetensors") in outcome.text
    assert "cannot be written: No space left on device" in outcome.text
    assert "make room there and resume" in outcome.text
    assert f"The finished rounds are kept in {out}." in outcome.text
    assert "Traceback" not in outcome.text
    assert not list(out.rglob("*.tmp"))
    _, kept = read_checkpoint(out / "fedavg/checkpoints/round-000002.safetensors")
    assert kept["server"]["round"] == 2
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


@pytest.mark.parametrize("name", ["result.json", "report.html", "fedavg/.metrics.jsonl", "best-before_local_training"])
def test_a_full_disk_is_reported_wherever_it_shows(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        fill_disk(patch, name)
        outcome = omnifm("run", experiment, "--out", out, "--workers", 1)
    assert outcome.status == 1
    assert name.rpartition("/")[2].lstrip(".") in outcome.text
    assert "No space left on device" in outcome.text
    assert "resume" in outcome.text.lower()
    assert "Traceback" not in outcome.text
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


def test_a_run_needs_a_folder_that_can_be_written(experiment: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = omnifm("run", experiment, "--out", tmp_path / "file" / "run")
    assert outcome.status == 1
    assert f"{tmp_path / 'file' / 'run'} cannot be written" in outcome.text
    assert "Traceback" not in outcome.text


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=linux)])
def test_a_loss_that_is_no_number_names_where(experiment: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "run"
    huge = ("--set", "training.learning_rate=1e30", "--set", "training.clip_norm=1e30")
    outcome = omnifm("run", experiment, *huge, "--out", out, "--workers", workers)
    assert outcome.status == 1
    assert "The loss of client 'CT' is nan in round 1, batch 2." in outcome.text
    assert "Lower training.learning_rate (now 1e+30) or training.clip_norm" in outcome.text
    assert "Traceback" not in outcome.text


def test_weights_that_are_no_numbers_are_reported_where_they_are_evaluated(experiment: Path, tmp_path: Path) -> None:
    # One batch a round: the loss is still a number when the weights no longer are.
    huge = ("training.learning_rate=1e38", "training.clip_norm=1e38", "training.batch_size=64")
    changes = [part for key in (*huge, "federation.evaluate_every=1") for part in ("--set", key)]
    outcome = omnifm("run", experiment, *changes, "--out", tmp_path / "run", "--workers", 1)
    assert outcome.status == 1
    assert "The loss of client 'CT' is " in outcome.text
    assert "Lower training.learning_rate" in outcome.text
    assert "Traceback" not in outcome.text


def test_the_last_good_checkpoint_outlives_a_loss_that_is_no_number(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, loss = tmp_path / "run", Classification.loss

    def spoilt(self: Classification, prediction: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return loss(self, prediction, batch) * (torch.nan if reached(out / "fedavg", 3)() else 1)

    with monkeypatch.context() as patch:
        patch.setattr(Classification, "loss", spoilt)
        outcome = omnifm("run", experiment, "--out", out, "--workers", 1)
    assert outcome.status == 1
    assert "The loss of client 'CT' is nan in round 4, batch 1." in outcome.text
    assert f"The finished rounds are kept in {out}." in outcome.text
    assert "Traceback" not in outcome.text
    assert read_checkpoint(out / "fedavg/checkpoints/round-000003.safetensors")[1]["server"]["round"] == 3
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


def test_clients_may_be_called_what_no_file_may(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, "fedavg", folders={"a": "PET/CT", "b": "PET_CT", "c": ".."})
    outcome = omnifm("run", experiment, "--set", "federation.rounds=1", "--out", tmp_path / "run", "--workers", 1)
    assert outcome.status == 0, outcome.text
    panels = result(tmp_path / "run/fedavg")["panels"]
    files = [panel["given"][0]["file"] for shown in panels.values() for panel in shown]
    assert panels.keys() == {"PET/CT", "PET_CT", ".."}
    assert len(set(files)) == len(files) == 12
    assert {(tmp_path / "run/fedavg" / file).resolve().parent for file in files} == {tmp_path / "run/fedavg/pictures"}


def test_the_experiment_file_is_the_last_of_a_new_folder(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A kill before it is written leaves no run, one after it all that a run needs.
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        fill_disk(patch, "experiment.toml")
        assert omnifm("run", experiment, "--out", out).status == 1
    assert {path.name for path in out.iterdir()} == {".lock", "versions.json"}
    assert "holds no run to resume" in omnifm("run", "--resume", out).text


def test_too_little_memory_is_reported_and_costs_no_round(
    experiment: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, loss = tmp_path / "run", Classification.loss

    def hungry(self: Classification, prediction: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if reached(out / "fedavg", 2)():
            torch.empty(2**60)
        return loss(self, prediction, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Classification, "loss", hungry)
        outcome = omnifm("run", experiment, "--out", out, "--workers", 1)
    assert outcome.status == 1
    assert "There is not enough memory. Lower training.batch_size" in outcome.text
    assert f"The finished rounds are kept in {out}" in outcome.text
    assert "Traceback" not in outcome.text
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)
