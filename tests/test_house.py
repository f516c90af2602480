"""What holds for the library as a whole, whoever adds to it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from omnifm.tasks import registry

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "omnifm").rglob("*.py"))
BLIND = [path for path in SOURCES if path.relative_to(ROOT / "omnifm").parts[0] not in ("tasks", "networks", "data")]


def calls(path: Path) -> list[tuple[int, str]]:
    """Return line and source of every import and attribute in a file; words in comments are none."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [(n.lineno, ast.unparse(n)) for n in nodes if isinstance(n, ast.Import | ast.ImportFrom | ast.Attribute)]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


def test_no_import_runs_upwards() -> None:
    # In a process of its own: it silences the loggers of the one it runs in.
    done = python("from importlinter.cli import lint_imports; raise SystemExit(lint_imports())")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("path", BLIND, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_asks_no_task_its_name(path: Path) -> None:
    text = re.sub(r"[-_\s]+", "_", path.read_text(encoding="utf-8"))
    assert registry.SETTINGS
    named = [task for task in registry.SETTINGS if re.search(rf"(?i)(?<![a-z]){task}", text)]
    assert not named, f"{path} names {named}"


def test_the_blind_files_are_found() -> None:
    rooms = {path.relative_to(ROOT / "omnifm").parts[0] for path in BLIND}
    assert {"spectral", "algorithms", "engines", "federation.py", "results", "cli"} <= rooms
    assert len(BLIND) > 60


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled(path: Path) -> None:
    modules = r"\b(c?pickle|dill|joblib|cloudpickle|shelve|marshal)\b"
    barred = modules + r"|^torch\.(load|save)$|^from torch import .*\b(load|save)\b"
    found = [(line, text) for line, text in calls(path) if re.search(barred, text)]
    assert not found
    text = path.read_text(encoding="utf-8")
    assert "allow_pickle=True" not in text.replace(" ", "")


def test_importing_the_library_is_light() -> None:
    loaded = modules("omnifm")
    assert "omnifm" in loaded
    assert not loaded & {"torch", "monai", "nilearn", "sklearn", "scipy", "matplotlib", "numpy"}


def test_the_command_answers_before_torch_is_loaded() -> None:
    loaded = modules("omnifm.cli")
    assert "typer" in loaded
    assert not loaded & {"torch", "monai", "nilearn", "sklearn", "scipy", "matplotlib"}


def modules(name: str) -> set[str]:
    """Return the packages that are loaded after an import."""
    done = python(f"import sys, {name}; print(*{{name.partition('.')[0] for name in sys.modules}})")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
