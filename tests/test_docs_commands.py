"""The commands in README and docs do what a reader expects: they run, on a tiny example; the others can be parsed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import small_run
import tomli_w
import typer.main
from docs_commands import NOT_RUN, PAGES, ROOT, commands, experiment_of, inline, made_small, reason
from small_run import write_experiment

from omnifm.cli import app
from omnifm.config.experiment import read_plan

pytestmark = pytest.mark.usefixtures("charts_drawn")

EVERY = [(page, command) for page in PAGES for command in commands(page)]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def check_omnifm(words: list[str], line: str) -> None:
    """Check that the command exists, and that it has the options."""
    command: click.Command = typer.main.get_command(app)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, line
        command, words = command.commands[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    if "flwr" not in line:  # which hands its words on
        assert {word for word in words if word.startswith("--")} <= known, line


def check(line: str) -> None:
    words = shlex.split(re.sub(r"^sudo( -u \w+)? ", "", line))
    if words[0].rpartition("/")[2] == "omnifm":
        check_omnifm(words[1:], line)
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[1] in targets, line
    elif words[0] == "python" and words[1] == "mine.py":
        check_omnifm(words[2:], line)
    elif words[0] == "python" and words[1] != "-m":
        program = (ROOT / words[1]).read_text(encoding="utf-8")
        if "omnifm.cli import main" in program:
            check_omnifm(words[2:], line)
        else:
            assert [word for word in words if word.startswith("--") and f'"{word}"' not in program] == [], line
    elif "pip" in words[0]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        named = {extra for found in re.findall(r"(?:omnifm|whl|\.)\[([\w,]+)\]", line) for extra in found.split(",")}
        assert named <= extras.keys(), line


@each_page
def test_its_commands_and_their_options_exist(page: Path) -> None:
    for line in (*commands(page), *inline(page)):
        check(line.replace("...", ""))


@each_page
def test_its_experiments_can_be_read_with_their_changes(page: Path) -> None:
    for command in commands(page):
        if command.startswith("omnifm") and (found := experiment_of(command)):
            assert read_plan(*found).arms


@pytest.mark.parametrize("line", ["omnifm rum x", "omnifm run --sett x", "make domo", "pip install 'omnifm[floer]'"])
def test_a_command_that_is_none_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        check(line)


def test_every_exception_is_needed() -> None:
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, command) for _, command in EVERY)] == []


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a reader follows the docs."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "examples").symlink_to(ROOT / "examples")
    write_experiment(folder, "omnifm", federation={"rounds": 1}, bank={"prototypes": 3}).rename(
        folder / "EXPERIMENT.toml"
    )
    (folder / "first.toml").write_text(blocks("first-run.md", "toml")[0], encoding="utf-8")
    first, second, _ = blocks("own-algorithm.md", "python")
    (folder / "mine.py").write_text(first.replace("\n\nif __name__", f"\n\n{second}\n\nif __name__"), encoding="utf-8")
    town = folder / "runs/town"
    (town / "hospitals/CT").mkdir(parents=True)
    shutil.copy(folder / "EXPERIMENT.toml", town / "experiment.toml")
    client = {"name": "CT", "state": "state", "data": {"sources": [{"kind": "phantom", "modalities": ["CT"]}]}}
    policy = tomllib.loads(blocks("one-machine.md", "toml")[0])
    (town / "hospitals/CT/client.toml").write_text(tomli_w.dumps({**client, **policy}), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_they_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    failed = {}
    for command in dict.fromkeys(command for _, command in EVERY if not reason(command)):
        words = made_small(command)
        if words[0] == "python":
            done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
            status, text = done.returncode, done.stdout + done.stderr
        else:
            outcome = small_run.omnifm(*words[1:])
            status, text = outcome.status, outcome.text
        if status:
            failed[command] = text[-1000:]
    assert not failed
    (python,) = blocks("first-run.md", "python")  # images are as small as those of the run
    exec(python.replace("48, 48", "16, 16"), {})


@pytest.mark.slow
@pytest.mark.process
def test_the_algorithms_of_the_tutorial_pass_the_suite(workplace: Path) -> None:
    (_, _, suite) = blocks("own-algorithm.md", "python")
    done = subprocess.run([sys.executable, "-c", suite], cwd=workplace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
