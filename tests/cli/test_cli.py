"""The command as a person meets it: what it prints, how it ends, and that a mistake is one message with a remedy."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image
from small_run import (
    ROUNDS,
    Outcome,
    Process,
    document,
    ended,
    family,
    halted,
    hashes,
    living,
    omnifm,
    reached,
    result,
    wait_until,
    write_experiment,
    write_images,
)

from omnifm.utils.lock import is_held

pytestmark = [pytest.mark.slow, pytest.mark.process]

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("experiment"), "fedavg")


@pytest.fixture(scope="module")
def whole(experiment: Path) -> Path:
    """A finished run."""
    out = experiment.parent / "whole"
    assert omnifm("run", experiment, "--out", out, "--workers", 1).status == 0
    return out


def refused(outcome: Outcome, *words: str) -> None:
    """Check that the command ended with a message of these words, and with no traceback."""
    assert outcome.status == 1, outcome.text
    assert outcome.text.startswith("Error: ")
    assert "Traceback" not in outcome.text
    for word in words:
        assert word in outcome.text


def test_without_an_experiment(tmp_path: Path) -> None:
    words = "Give an experiment file, or --resume FOLDER alone to resume a run."
    refused(omnifm("run"), words)
    refused(omnifm("run", "--resume", tmp_path, "--set", "seed=1"), words)


def test_two_folders_for_one_run(experiment: Path, tmp_path: Path) -> None:
    refused(omnifm("run", experiment, "--out", tmp_path, "--resume", tmp_path), "give only one of them")


def test_resuming_where_no_run_is(tmp_path: Path) -> None:
    words = f"{tmp_path} holds no run to resume: there is no {tmp_path / 'experiment.toml'}."
    refused(omnifm("run", "--resume", tmp_path), words)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_a_run(experiment: Path, whole: Path) -> None:
    before = hashes(whole)
    outcome = omnifm("run", experiment, "--out", whole)
    refused(
        outcome,
        f"{whole} holds a run already. Continue it with --resume {whole}, give another --out, or --overwrite it.",
    )
    assert hashes(whole) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["trainin.epochs=1"], "Unknown key 'trainin'. Did you mean 'training'?"),
        (["training.batchsize=4"], "Unknown key 'training.batchsize'. Did you mean 'batch_size'?"),
        (["arms.fedavg.training.epoch=4"], "In arm 'fedavg': Unknown key 'training.epoch'. Did you mean 'epochs'?"),
        (["training.batch_size=many"], "training.batch_size: must be a valid integer (given: 'many')."),
        (["training.epochs=0"], "training.epochs: must be 1 or more (given: 0)."),
        (["federation.rounds"], "--set 'federation.rounds': write it as key=value"),
        (["seed.x=1"], "seed: must be a valid integer"),
        (["name.first=x"], "--set 'name.first': 'name' is a value and has no keys below it."),
        (["arms.fedavg.algorithm=fedavgg"], "algorithm: unknown name 'fedavgg'. Did you mean 'fedavg'?"),
        (["task=classificaton"], "task: unknown name 'classificaton'. Did you mean 'classification'?"),
        (['federation.personal=["haed"]'], "No part of the network is called 'haed'."),
        (["partition.clients=61"], "partition.clients = 61, but the sources hold 60 patients"),
        (["partition.clients=2"], "partition.clients = 2, but the sources hold 3 modalities (CT, MRI, PET)"),
        (["partition.clients=30"], "has no sample for "),
        (
            ["data.sources.1.folder=x"],
            "data/x: no such folder. Put the images there as <class>/<image>, or",
        ),
        (['data.sources.1.classes=["lift"]'], "has no class 'lift'. Did you mean 'left'?"),
        (["data.sources=[]"], "data.sources: must name at least 1."),
        (["data.sources.0.kind=image_foldr"], "'image_foldr'"),
    ],
)
def test_a_mistake_names_what_where_and_what_to_do(
    experiment: Path, tmp_path: Path, changes: list[str], words: str
) -> None:
    arguments = [part for change in changes for part in ("--set", change)]
    out = tmp_path / "run"
    outcome = omnifm("run", experiment, "--out", out, "--workers", 1, *arguments)
    refused(outcome, words)
    assert "finished rounds" not in outcome.text, "there are none"
    assert {folder.name for folder in out.glob("*/")} <= {"data"}, (
        "what is known of the data is forgotten at the next run"
    )


def test_a_mistake_does_not_bar_the_folder(experiment: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    changed = ("--set", 'arms.late={algorithm="fedavg", federation.personal=["haed"]}')
    refused(omnifm("run", experiment, "--out", out, "--workers", 1, *changed), "'haed'")
    assert not (out / "fedavg").exists(), "the first arm need not train for the last one's mistake to be found"
    assert omnifm("run", experiment, "--out", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


def test_no_experiment_file(tmp_path: Path) -> None:
    refused(omnifm("run", tmp_path / "none.toml"), f"There is no experiment file {tmp_path / 'none.toml'}.")
    refused(omnifm("data", "show", tmp_path / "none.toml"), f"There is no experiment file {tmp_path / 'none.toml'}.")
    (tmp_path / "bad.toml").write_text("seed = 1\nrounds 3")
    refused(omnifm("run", tmp_path / "bad.toml"), f"{tmp_path / 'bad.toml'} is not valid TOML", "line 2")


def medmnist(tmp_path: Path) -> Path:
    source = {"kind": "medmnist", "set": "breastmnist", "folder": "."}
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(document(tmp_path, [source], "fedavg")))
    return tmp_path / "tiny.toml"


def test_a_published_file_that_is_not_there(tmp_path: Path) -> None:
    outcome = omnifm("run", medmnist(tmp_path), "--out", tmp_path / "run")
    refused(outcome, f"{tmp_path / 'breastmnist.npz'}: no such file.", "Fetch the published file from https://medmnist")


def test_a_published_file_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "breastmnist.npz"
    arrays: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.random.default_rng(0).integers(0, 255, (20, 28, 28)).astype(np.uint8)
        arrays[f"{split}_labels"] = np.arange(20, dtype=np.uint8)[:, None] % 2
    np.savez_compressed(path, **arrays)
    whole = path.read_bytes()
    assert omnifm("data", "show", medmnist(tmp_path), "--out", tmp_path / "data.png").status == 0
    for spoilt in (whole[: len(whole) // 2], whole[:3000] + bytes(2000) + whole[5000:], b""):
        path.write_bytes(spoilt)
        outcome = omnifm("run", tmp_path / "tiny.toml", "--out", tmp_path / "run")
        refused(outcome, f"{path}: damaged, or not a MedMNIST file", "Fetch the published file")


def test_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, "fedavg")
    path = tmp_path / "data/b/right/3.png"
    whole = path.read_bytes()
    for spoilt in (b"", b"rubbish", whole[: len(whole) // 2]):
        path.write_bytes(spoilt)
        outcome = omnifm("run", experiment, "--out", tmp_path / "run")
        refused(outcome, f"{path}: cannot be read as an image", "Replace or remove the file.")


def test_a_hospital_without_images(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, "fedavg")
    for path in (tmp_path / "data/b/left").iterdir():
        path.unlink()
    outcome = omnifm("run", experiment, "--out", tmp_path / "run")
    refused(outcome, f"{tmp_path / 'data/b/left'}: holds no image", "leave it out by naming the others in classes")


def test_a_hospital_of_one_class_is_warned_of(experiment: Path, tmp_path: Path) -> None:
    one = ("--set", 'data.sources.1.classes=["left"]', "--set", "federation.rounds=1")
    outcome = omnifm("run", experiment, "--out", tmp_path / "run", "--workers", 1, *one)
    assert outcome.status == 0
    (warning,) = [line for line in outcome.text.splitlines() if "Warning" in line]
    assert warning.startswith("Warning: All training data of client 'MRI' are of one class (left); it cannot")


@pytest.mark.parametrize(
    "arguments", [["--workers", "-1"], ["--workers", "0"], ["--workers", "many"], ["--worker", "1"], ["a", "b"]]
)
def test_a_slip_in_the_options(arguments: list[str]) -> None:
    outcome = omnifm("run", *arguments)
    assert outcome.status == 2
    assert "Usage:" in outcome.text
    assert "Traceback" not in outcome.text


def test_help_names_the_commands() -> None:
    text = omnifm("--help").text
    assert all(command in text for command in ("run", "report", "data", "watch", "init", "list"))


def test_the_data_are_shown(experiment: Path, tmp_path: Path) -> None:
    outcome = omnifm("data", "show", experiment, "--out", tmp_path / "seen.png")
    assert outcome.status == 0
    rows = [line.split() for line in outcome.text.splitlines() if line.startswith(("CT", "MRI", "PET"))]
    assert rows == [[name, name, "12", "4", "4", "20", "left", "6,", "right", "6"] for name in ("CT", "MRI", "PET")]
    assert f"Picture: {tmp_path / 'seen.png'}" in outcome.text
    assert not set(outcome.text) & set("│┃┏╭─━"), "what is no terminal gets a plain table"
    with Image.open(tmp_path / "seen.png") as image:
        assert image.width > 1000
        assert len(np.unique(np.asarray(image.convert("L")))) > 50


def test_the_data_are_shown_as_changed(experiment: Path, tmp_path: Path) -> None:
    changes = ("--set", "data.sources.0.limit=5", "--set", "partition.test=0.4")
    outcome = omnifm("data", "show", experiment, "--out", tmp_path / "seen.png", *changes)
    row = next(line for line in outcome.text.splitlines() if "CT" in line)
    assert re.findall(r"\d+", row)[:4] == ["4", "2", "4", "10"]


def test_a_picture_needs_a_place(experiment: Path, tmp_path: Path) -> None:
    for name in ("none/seen.png", "."):
        outcome = omnifm("data", "show", experiment, "--out", tmp_path / name)
        assert outcome.status == 1
        assert f"The picture {tmp_path / name} cannot be written" in outcome.text
        assert "Traceback" not in outcome.text


def test_a_report_is_made_again(experiment: Path, whole: Path) -> None:
    report = (whole / "report.html").read_bytes()
    (whole / "report.html").unlink()
    outcome = omnifm("report", whole)
    assert outcome.status == 0
    assert (whole / "report.html").read_bytes() == report
    assert f"Report: {whole / 'report.html'}" in outcome.text
    assert "before = before local training and after = after local training" in " ".join(outcome.text.split())
    # Going on with a finished run is the same as looking at it.
    assert omnifm("run", "--resume", whole).text == outcome.text
    assert re.search(r"\n MRI +\d\.\d{3} *\n", outcome.text)


def test_a_report_of_nothing(tmp_path: Path) -> None:
    refused(omnifm("report", tmp_path), f"{tmp_path} holds no run: there is no {tmp_path / 'experiment.toml'}.")


def test_a_report_on_a_full_disk(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(omnifm("report", whole), f"{whole / 'report.html'}: No space left on device.")


def test_names_are_printed_as_they_are(tmp_path: Path) -> None:
    names = {"a": "[red]CT", "b": "MRI[/]", "c": "[link=x]"}
    sources = write_images(tmp_path / "data", names)
    changed = document(tmp_path / "data", sources, "fedavg")
    changed["arms"] = {"[blue]": {"algorithm": "fedavg"}, "[": {"algorithm": "local"}}
    changed["federation"]["rounds"] = 1
    path = tmp_path / "[bold].toml"
    path.write_text(tomli_w.dumps(changed), encoding="utf-8")
    shown = omnifm("data", "show", path, "--out", tmp_path / "[red].png")
    ran = omnifm("run", path, "--out", tmp_path / "[green]", "--workers", 1)
    again = omnifm("report", tmp_path / "[green]")
    assert (shown.status, ran.status, again.status) == (0, 0, 0), ran.text
    for name in names.values():
        assert all(f" {name} " in outcome.text for outcome in (shown, ran, again))
    assert " [blue] " in ran.text
    assert " [ " in ran.text
    assert f"Picture: {tmp_path / '[red].png'}\n" in shown.text
    assert f"Report: {tmp_path / '[green]' / 'report.html'}\n" in ran.text
    spoilt = tmp_path / "data/a/left/0.png"
    spoilt.write_bytes(b"")
    refused(omnifm("run", path, "--out", tmp_path / "[x]"), f"{spoilt}: cannot be read")
    refused(omnifm("run", path, "--resume", tmp_path / "[no]"), f"{tmp_path / '[no]'} holds no run")
    assert not (tmp_path / "[no]").exists()


STOPPED = "Stopped. The finished rounds are kept: resume with  omnifm run --resume "


@linux
def test_ctrl_c_in_a_real_process(experiment: Path, whole: Path, tmp_path: Path) -> None:
    # The one test of the command from the outside: its entry, its streams (a pipe is no terminal) and its end.
    out = tmp_path / "a run"
    code = "import sys; from omnifm.cli import main; sys.argv[0] = 'omnifm'; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(experiment), "--out", str(out), "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: reached(out / "fedavg", 2)() or process.poll() is not None)
        workers = halted(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        os.kill(process.pid, signal.SIGCONT)
        text, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, text
    assert Outcome(0, text).said == f"{STOPPED}'{out}'\n"
    assert len(workers) == 2
    assert not any(map(living, workers))
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


@linux
@pytest.mark.parametrize(
    ("number", "group", "workers"),  # every two of them in all their combinations
    [
        (signal.SIGINT, True, 2),
        (signal.SIGINT, False, 1),
        (signal.SIGTERM, True, 1),
        (signal.SIGTERM, False, 2),
        (signal.SIGHUP, True, 2),
        (signal.SIGHUP, False, 1),
    ],
)
def test_a_request_to_end(
    experiment: Path, whole: Path, tmp_path: Path, number: int, group: bool, workers: int
) -> None:
    out = tmp_path / "run"
    with ended(Process(tmp_path / "log", "run", experiment, "--out", out, "--workers", workers)) as process:
        wait_until(reached(out / "fedavg", 1), process)
        children = halted(process.pid)
        (os.killpg if group else os.kill)(process.pid, number)
        os.kill(process.pid, signal.SIGCONT)
        outcome = process.wait()
    assert outcome.status == 128 + number
    assert outcome.said == f"{STOPPED}{out}\n"
    assert not is_held(out)
    assert len(children) == (0 if workers == 1 else 2)
    assert not any(map(living, children))
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


@linux
@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_waits_for_a_long_training_that_is_stopped(experiment: Path, tmp_path: Path, workers: int) -> None:
    out, long = tmp_path / "run", ("--set", "training.epochs=5000")
    with ended(Process(tmp_path / "log", "run", experiment, *long, "--out", out, "--workers", workers)) as process:
        wait_until((out / "fedavg/metrics.jsonl").exists, process)
        wait_until(lambda: workers == 1 or len(family(process.pid)) == 2, process)
        time.sleep(0.5)
        started = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        outcome = process.wait()
    assert outcome.status == 130
    assert outcome.said == f"{STOPPED}{out}\n"
    assert time.monotonic() - started < 5


def test_a_file_gets_no_progress_bar(experiment: Path, tmp_path: Path) -> None:
    with ended(Process(tmp_path / "log", "run", experiment, "--out", tmp_path / "run", "--workers", 1)) as process:
        outcome = process.wait()
    assert outcome.status == 0
    assert not set(outcome.text) & {"\x1b", "\r", "\x08"}
    assert outcome.said == omnifm("report", tmp_path / "run").text
    number = r"\d+\.\d+"
    *rounds, test = outcome.rounds
    for place, line in enumerate(rounds, start=1):
        score = f", accuracy {number}" if place % 2 == 0 else ""
        left = r", \d+ s left" if place < ROUNDS else ""
        assert re.fullmatch(rf"fedavg {place}/{ROUNDS}: loss {number}{score}, {number} s{left}", line)
    assert len(rounds) == ROUNDS
    assert test.startswith("fedavg: test accuracy 0.")


@linux
def test_ctrl_c_again_and_again_does_no_harm(experiment: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ended(Process(tmp_path / "log", "run", experiment, "--out", out, "--workers", 2)) as process:
        wait_until(reached(out / "fedavg", 1), process)
        children = family(process.pid)
        while process.alive:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.001)
        outcome = process.wait()
    # The first second of them is one request; any later one ends the process, which loses no finished round.
    assert (outcome.status, outcome.said) in ((130, f"{STOPPED}{out}\n"), (-signal.SIGINT, ""))
    wait_until(lambda: not any(map(living, children)), seconds=5)
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


@linux
def test_a_terminal_that_is_gone_ends_it_cleanly(experiment: Path, whole: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    out, code = tmp_path / "run", "import sys; from omnifm.cli import main; sys.argv[0] = 'omnifm'; main()"
    pid, terminal = pty.fork()
    if pid == 0:
        command = [sys.executable, "-c", code, "run", str(experiment), "--out", str(out), "--workers", "2"]
        os.execv(sys.executable, command)
    wait_until(reached(out / "fedavg", 1))
    children = halted(pid)
    os.kill(pid, signal.SIGCONT)
    os.close(terminal)  # as when ssh is lost: SIGHUP, and every word to the terminal is an error
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert len(children) == 2
    assert not any(map(living, children))
    assert not is_held(out)
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert hashes(out) == hashes(whole)


@linux
def test_a_second_run_in_one_folder_is_refused(experiment: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ended(Process(tmp_path / "log", "run", experiment, "--out", out, "--workers", 1)) as process:
        wait_until(reached(out / "fedavg", 1), process)
        words = f"{out} is in use by process {process.pid} on "
        for arguments in (
            ("run", "--resume", out),
            ("run", experiment, "--out", out),
            ("compare", experiment, "--out", out),
        ):
            refused(omnifm(*arguments), words, "Wait until that has ended, end it, or give another folder.")
        assert omnifm("report", out).status == 0
        assert process.wait().status == 0
    assert hashes(out) == hashes(whole)
    assert not is_held(out)


@pytest.mark.parametrize("limit", ["30", "0s", "-5m", "soon"])
def test_a_limit_that_is_no_time(experiment: Path, tmp_path: Path, limit: str) -> None:
    refused(omnifm("run", experiment, "--out", tmp_path / "run", f"--time-limit={limit}"), "--time-limit", "1h30m")
    assert not (tmp_path / "run").exists()


def test_a_run_by_and_by(experiment: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    start: tuple[str | Path, ...] = ("run", experiment, "--out", out)
    for number in range(1, ROUNDS):
        outcome = omnifm(*start, "--workers", 1, "--time-limit", "0.001s")
        assert outcome.status == 75
        assert outcome.said == f"Time is up. {STOPPED.removeprefix('Stopped. ')}{out}\n"
        assert reached(out / "fedavg", number)(), "one round each time"
        assert not reached(out / "fedavg", number + 1)()
        start = ("run", "--resume", out)
    assert omnifm(*start, "--workers", 1, "--time-limit", "0.001s").status == 0, "the test is not cut"
    assert hashes(out) == hashes(whole)
    assert omnifm(*start, "--time-limit", "0.001s").status == 0, "there is nothing left to do"


def test_stopped_early_it_says_so(experiment: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    changes = ("federation.patience=1", "federation.evaluate_every=1", "federation.rounds=40", "training.epochs=1")
    sets = [part for change in changes for part in ("--set", change)]
    outcome = omnifm("run", experiment, "--out", out, "--workers", 1, *sets)
    assert outcome.status == 0, outcome.text
    found = result(out / "fedavg")
    assert 1 < found["rounds"] < 40
    assert found["rounds"] == max(number for number, _ in found["best"].values()) + 1
    assert found["stopped"] == "no score has improved in 1 evaluation on validation data"
    assert f"ended early, after round {found['rounds']}, as no score" in (out / "report.html").read_text()
    assert omnifm("run", "--resume", out, "--workers", 1).status == 0
    assert result(out / "fedavg") == found


@pytest.mark.parametrize(
    ("point", "name", "other"),
    [("before_local_training", "before", "after"), ("after_local_training", "after", "before")],
)
def test_one_evaluation_point_is_enough(
    experiment: Path, whole: Path, tmp_path: Path, point: str, name: str, other: str
) -> None:
    out = tmp_path / "run"
    only = ("--set", f'federation.evaluate=["{point}"]')
    outcome = omnifm("run", experiment, "--out", out, "--workers", 1, *only)
    assert outcome.status == 0, outcome.text
    assert f"{name} = {name} local training" in outcome.text
    assert f"{other} local training" not in outcome.text
    found = result(out / "fedavg")
    assert found["test"] == {point: result(whole / "fedavg")["test"][point]}
    assert found["panels"]["CT"]
    assert hashes(out) == hashes(whole)
    best = {path.name for path in (out / "fedavg/checkpoints").glob("best-*")}
    assert best == {f"best-{point}.safetensors"}
    page = (out / "report.html").read_text()
    assert f"Validation accuracy {name} local training" in page
    assert f"on test images {name} local training" in page
    assert f"{other} local training" not in page
