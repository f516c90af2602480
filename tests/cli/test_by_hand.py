"""What helps those who begin: an experiment to start from, lists of names, help with examples, completion."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import typer.main
from small_run import Outcome, omnifm, write_experiment

from omnifm.cli import app
from omnifm.cli.help_examples import EXAMPLES, commands_of
from omnifm.config.catalogue import CATALOGUES, entries
from omnifm.config.experiment import read_plan
from omnifm.runs.clearing import clear, free_folder
from omnifm.tasks.registry import TASKS

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = dict(commands_of(app))


@pytest.mark.parametrize("task", TASKS)
def test_an_experiment_to_begin_with(task: str, tmp_path: Path) -> None:
    file = tmp_path / "first.toml"
    outcome = omnifm("init", task, "--out", file)
    assert outcome.status == 0, outcome.text
    assert f"omnifm run {file}" in outcome.text
    plan = read_plan(file)
    assert (plan.name, list(plan.arms), plan.arms["omnifm"].task) == ("first", ["local", "omnifm"], task)
    text = file.read_text(encoding="utf-8")
    assert "For your own images, put sources like the ones below in its place" in text
    # Every default that stands behind a # is one: with all of them taken away it is the same experiment.
    keys = [line for line in text.splitlines() if line.startswith("# ") and "[[" not in line and " = " in line]
    own = text.index("[partition]")
    bared = text[:own] + "\n".join(
        line.removeprefix("# ") if line in keys else line for line in text[own:].splitlines()
    )
    assert read_plan(tomllib.loads(bared)).arms == plan.arms
    assert len(keys) > 12


def test_an_algorithm_may_be_named(tmp_path: Path) -> None:
    for algorithm, arms in (("fedprox", ["local", "fedprox"]), ("local", ["local"])):
        file = tmp_path / f"{algorithm}.toml"
        assert omnifm("init", "classification", "--algorithm", algorithm, "--out", file).status == 0
        assert list(read_plan(file).arms) == arms
    assert "# mu = " in (tmp_path / "fedprox.toml").read_text(encoding="utf-8")


def refused(outcome: Outcome, words: str) -> None:
    assert outcome.status == 1
    assert words in outcome.text
    assert "Traceback" not in outcome.text


def test_mistakes_of_beginners(tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    refused(omnifm("init", "clasification", "--out", file), "no task 'clasification'. Did you mean 'classification'?")
    refused(omnifm("init", "vqa", "--algorithm", "fedavgg", "--out", file), "Did you mean 'fedavg'?")
    refused(omnifm("init", "vqa", "--out", tmp_path / "none/e.toml"), "cannot be written: No such file or directory.")
    file.write_text("mine")
    refused(omnifm("init", "vqa", "--out", file), f"{file} exists already. Give another --out.")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("what", CATALOGUES)
def test_lists(what: str) -> None:
    found = entries(what)
    text = omnifm("list", what).text
    assert [line.split()[0] for line in text.splitlines()] == [entry.name for entry in found]
    assert all(entry.about.endswith(".") or len(entry.about) > 10 for entry in found)
    assert all("`" not in entry.about for entry in found)
    values = json.loads(omnifm("list", what, "--json").text)
    assert [(one["name"], one["about"]) for one in values] == [(entry.name, entry.about) for entry in found]


def test_every_task_says_what_serves_it() -> None:
    names = {entry.name for entry in entries("data")}
    for entry in entries("tasks"):
        assert set(entry.used) <= names
        assert entry.used[0].startswith("phantom"), "the first needs no download"
    assert {entry.used[0] for entry in entries("networks")} == set(TASKS)
    assert [entry.name for entry in entries("data") if not entry.used] == []


def test_every_command_has_examples_that_it_takes() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    for name, lines in EXAMPLES.items():
        for line in lines:
            command: click.Command = typer.main.get_command(app)
            words = shlex.split(line)
            assert words[0] == "omnifm"
            rest = words[1:]
            while isinstance(command, click.Group):
                command, rest = command.commands[rest[0]], rest[1:]
            assert line.startswith(f"omnifm {name}")
            command.make_context(name, rest)


def test_help_is_short_and_ends_with_examples() -> None:
    for option in ("-h", "--help"):
        text = omnifm("run", option).text
        assert "Usage:" in text
        assert text.rstrip().endswith("omnifm run experiment.toml --overwrite")
    assert omnifm("deploy", "audit", "-h").status == 0


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell that finds this version of the command."""
    program = tmp_path / "bin/omnifm"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom omnifm.cli import main\nmain()\n")
    program.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(home), "SHELL": "/bin/bash"}


@pytest.mark.process
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_in_bash(shell: dict[str, str], tmp_path: Path) -> None:
    script = r"""
    omnifm --install-completion bash > /dev/null
    source ~/.bashrc
    complete -p omnifm > /dev/null || exit 3
    for line in "omnifm wat" "omnifm run --over" "omnifm list net" "omnifm deploy sta"; do
        read -ra COMP_WORDS <<< "$line"
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$line; COMP_POINT=${#line}
        COMPREPLY=()
        _omnifm_completion omnifm
        echo "$line: ${COMPREPLY[*]}"
    done
    """
    script = script.replace("--install-completion bash", "--install-completion")
    done = subprocess.run(["bash", "-c", script], env=shell, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "omnifm wat: watch",
        "omnifm run --over: --overwrite",
        "omnifm list net: networks",
        "omnifm deploy sta: status",
    ]


@pytest.mark.process
@pytest.mark.parametrize(("name", "words"), [("zsh", "#compdef omnifm"), ("fish", "complete --command omnifm")])
def test_completion_for_other_shells(shell: dict[str, str], name: str, words: str) -> None:
    # typer asks which shell it runs in, unless told not to.
    run = {**shell, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(["omnifm", "--show-completion", name], env=run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


def written_by_a_run(folder: Path) -> None:
    for name in ("experiment.toml", "versions.json", "fedavg/experiment.toml", "fedavg/metrics.jsonl", "report.html"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def test_only_what_a_run_wrote_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    written_by_a_run(folder)
    written_by_a_run(folder / "another")
    (folder / "my notes.txt").write_text("mine")
    (folder / "init").mkdir()
    (folder / "link").symlink_to(folder / "another/fedavg")
    clear(folder)
    left = ["another", "init", "link", "my notes.txt"]
    assert sorted(path.name for path in folder.iterdir()) == left
    assert (folder / "another/fedavg/metrics.jsonl").exists(), "a run inside this one, and what a link leads to, stay"
    clear(tmp_path / "none")


def test_a_free_number(tmp_path: Path) -> None:
    assert free_folder(tmp_path / "r") == tmp_path / "r"
    written_by_a_run(tmp_path / "r")
    assert free_folder(tmp_path / "r") == tmp_path / "r-2"
    written_by_a_run(tmp_path / "r-2")
    assert free_folder(tmp_path / "r") == tmp_path / "r-3"


@pytest.mark.slow
def test_the_same_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = write_experiment(tmp_path, "fedavg", federation={"rounds": 1})
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        outcome = omnifm("run", experiment, "--workers", 1)
        assert outcome.status == 0, outcome.text
        assert ("runs/tiny holds a run already: this one goes to runs/tiny-2." in outcome.text) == (number == 1)
    before = (tmp_path / "runs/tiny/versions.json").stat().st_mtime_ns
    (tmp_path / "runs/tiny/notes").write_text("mine")
    refused(omnifm("run", experiment, "--out", "runs/tiny"), "give another --out, or --overwrite it.")
    outcome = omnifm("run", experiment, "--workers", 1, "--overwrite")
    assert outcome.status == 0, outcome.text
    assert "fedavg 1/1: loss " in outcome.text, "it was run again, and told line by line"
    assert (tmp_path / "runs/tiny/versions.json").stat().st_mtime_ns > before
    assert (tmp_path / "runs/tiny/notes").read_text() == "mine"
    assert not (tmp_path / "runs/tiny-3").exists()


@pytest.mark.slow
def test_the_experiment_to_begin_with_runs(tmp_path: Path) -> None:
    file, small = tmp_path / "first.toml", ["federation.rounds=1", "data.size=16", "classification.width=8"]
    small += ["data.sources.0.patients=15", 'data.sources.0.modalities=["T2", "CT"]', f"data.cache={tmp_path}"]
    assert omnifm("init", "classification", "--algorithm", "fedavg", "--out", file).status == 0
    changes = [part for change in small for part in ("--set", change)]
    outcome = omnifm("run", file, "--workers", 1, "--out", tmp_path / "out", *changes)
    assert outcome.status == 0, outcome.text
    assert (tmp_path / "out/report.html").exists()
