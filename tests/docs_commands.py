"""The commands that the docs show: where they stand, which of them no test runs, and how the others are made small."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
]

NOT_RUN = {
    r"^sudo|^cp -a|^ssh": "changes the machine; tests/deploy runs what it installs",
    r"^git clone|^pip install|/pip install|-m venv|^/tmp/audit|pre-commit install": "needs the network",
    r"^make ": "sets up an environment, or runs these tests; its target is looked up",
    r"data\.root=DIR|runs/finetune-real": "needs a public data set; the experiment is read by test_example_files.py",
    r"--algorithms all|--ablate": "trains a dozen algorithms; tests/comparison designs them",
    r"^omnifm compare --resume": "needs the comparison before it; tests/comparison resumes one",
    r"examples/results/": "is a study of hours",
    r"^omnifm deploy (check|register|status|run|audit)": "needs a running deployment; tests/deploy has one",
    r"examples/demo_flower\.py|benchmarks/flower_faults\.py": "starts a network of processes: tests/engines/flower",
    r"own_algorithm\.py|mine\.py compare": "is run by test_example_files.py, with own_algorithm.py",
}
"""Commands that no test runs as they stand, and why. They are parsed all the same."""

TINY = (
    *("data.size=16", "data.sources.0.patients=15", "data.answer_patients=1", "classification.width=8"),
    *("federation.rounds=1", "federation.evaluate_every=1", "bank.prototypes=2", "vqa.compact.answer_bytes=8"),
)
"""What makes an experiment of the phantom small."""

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


def made_small(command: str) -> list[str]:
    """Return the words of a command, with the settings that let it end within a second or two."""
    words = [PLACES.get(word, word) for word in shlex.split(command)]
    if words[0] == "python":
        return [*words, *(f"--set={key}" for key in TINY), "--workers", "1"]
    name, rest = words[1], words[2:]
    own = rest and rest[0].startswith(("examples/", "first"))
    if name in ("run", "pretrain", "data") and own:
        words += [f"--set={key}" for key in TINY]
    if name == "compare":
        words += ["--seeds", "1", "--out", f"runs/compare-{len(command)}"]
    if name in ("run", "compare"):
        words += ["--workers", "1"]
    return words
