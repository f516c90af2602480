"""The commands that the docs show: where they stand, which of them no test runs, and how the others are made small."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
"""The README first: other pages go on with what it made."""

NOT_RUN = {
    r"^sudo|^cp -a|^ssh": "changes the machine; tests/deploy runs what it installs",
    r"^git clone|^pip install|/pip install|-m venv|^/tmp/audit|pre-commit install": "needs the network",
    r"^make ": "sets up an environment, or runs these tests; its target is looked up",
    r"data\.root=DIR|runs/finetune-real": "needs a public data set; the experiment is read by test_example_files.py",
    r"--sweep": "takes seconds; tests/comparison sweeps",
    r"^omnifm data init|^omnifm (data check|data show|run) experiment\.toml": "is run by tests/cli/test_own_data.py",
    r"^omnifm predict|--format": "needs images of the reader's; tests/prediction and tests/export do it for every task",
    r"segmentation-phantom": "takes seconds; tests/tasks train each task",
    r"^omnifm pretrain": "takes seconds; tests/runs pretrains",
    r"first\.toml --set": "differs in a setting from one that is run",
    r"--algorithms all|--ablate": "trains a dozen algorithms; tests/comparison designs them",
    r"^omnifm compare --resume": "needs the comparison before it; tests/comparison resumes one",
    r"examples/results/": "is a study of hours",
    r"^omnifm watch": "serves a page until Ctrl-C; tests/watch follows a run",
    r"^omnifm deploy (check|register|status|run|audit|model)": "needs a running deployment; tests/deploy has one",
    r"examples/demo_flower\.py|benchmarks/flower_faults\.py": "starts a network of processes: tests/engines/flower",
    r"own_algorithm\.py|mine\.py compare": "is run by test_example_files.py, with own_algorithm.py",
}
"""Commands that no test runs, and why. They are parsed all the same, and experiments are read with their ``--set``."""

TINY = (
    *("data.size=16", "data.answer_patients=1", "classification.width=8"),
    *("federation.rounds=1", "federation.evaluate_every=1", "bank.prototypes=2", "vqa.compact.answer_bytes=8"),
)
"""What makes an experiment of the phantom small."""

FEW = ("data.sources.0.patients=15", 'data.sources=[{kind="phantom",patients=15}]')
"""Few patients in an experiment with a source, and in one that leaves it to the default."""

ONE_ARM = 'arms={omnifm={algorithm="omnifm"}}'
"""Of several arms, one is enough."""

PLACES = {
    "/etc/omnifm/hospital/client.toml": "deployment/hospitals/North/client.toml",
    "DIR": "runs/b",
    "DIR/experiment.toml": "runs/b/experiment.toml",
}
"""What stands for a place of the reader's own."""


def commands(page: Path) -> list[str]:
    """Return the lines of a page's blocks of commands, without remarks and without what follows a semicolon."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                text = re.sub(r"\s+#.*$", "", line)
                found.append(text.partition(";")[0].strip())
    return found


def inline(page: Path) -> Iterator[str]:
    """Yield the commands of ``omnifm``, ``make`` and ``python`` within a page's sentences."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`\n]+)`", prose):
        if re.match(r"(\S*/)?omnifm \S|make [a-z]|python (examples|benchmarks|docs)/", code):
            yield code


def reason(command: str) -> str:
    """Return why a command is not run; empty if it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command)), "")


def experiment_of(command: str) -> tuple[Path, list[str]] | None:
    """Return the experiment file of the repository that a command names, and its ``--set``; None, if it names none."""
    words = shlex.split(command)
    found = [ROOT / word for word in words if word.startswith("examples/") and word.endswith(".toml")]
    changes = [after for word, after in itertools.pairwise(words) if word == "--set" and "DIR" not in after]
    return (found[0], changes) if found else None


def made_small(command: str) -> list[str]:
    """Return the words of a command, with the settings that let it end within a second or two."""
    words = [PLACES.get(word, word) for word in shlex.split(command)]
    if words[0] == "python":
        return [*words, *(f"--set={key}" for key in (*TINY, FEW[1])), "--workers", "1"]
    name, rest = words[1], words[2:]
    own = next((word for word in rest if word.startswith(("examples/", "first"))), "")
    if name in ("run", "data") and own:
        words += [f"--set={key}" for key in (*TINY, FEW["classification" in own], ONE_ARM)]
    if name == "compare":
        words += ["--seeds", "1", "--out", f"runs/compare-{len(command)}"]
    if name in ("run", "compare"):
        words += ["--workers", "1"]
    return words
