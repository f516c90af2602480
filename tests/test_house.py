"""What holds for the library as a whole, whoever adds to it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from omnifm.tasks import registry

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "omnifm").rglob("*.py"))
TEXTS = {".py", ".md", ".toml", ".html", ".j2", ".css", ".js", ".txt", ".sh", ".yml", ".service", ".svg"}
BLIND = [path for path in SOURCES if path.relative_to(ROOT / "omnifm").parts[0] not in ("tasks", "networks", "data")]


PARALLEL = frozenset({"__init__", "registry", "settings"})
"""File names that say the same of each package: its contents, what users register in it, what an experiment sets."""

COMMANDS = frozenset({"app", "main"})
"""What Typer and Flower look for by these names."""

EXTRAS = (
    *("flwr", "grpc", "cryptography", "Crypto", "highdicom", "gdcm", "jpeg_ls", "pylibjpeg", "openjpeg"),
    *("transformers", "peft", "onnx", "onnxruntime", "onnxscript", "dp_accounting", "mlflow", "tensorboard", "wandb"),
)
"""What the extras of the package bring, by the names of the modules."""

FORBIDDEN = ["ward", "ledger", "roster", "letters", "desk", "afar", "crew", "cohort", "yardstick", "playing"]
ORDINARY = r"letters(,| and) digits|lower-case letters|capital letters|Electronics Letters"
"""Where a forbidden word is no name for a thing of ours."""

OF_THE_ALPHABET = {
    "omnifm/networks/compact_vqa.py",
    "omnifm/data/breakhis.py",
    "omnifm/results/charts.py",
    "omnifm/utils/fonts.py",
    "docs/data.md",
}
"""Files in which letters are those of the alphabet."""


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


@pytest.mark.slow
def test_only_what_needs_flower_needs_an_extra() -> None:
    """Every other module can be imported where nothing but the library's own dependencies is installed."""
    done = python(
        "import importlib, pkgutil, sys\n"
        f"sys.modules |= dict.fromkeys({EXTRAS!r})\n"
        "import omnifm\n"
        "for module in pkgutil.walk_packages(omnifm.__path__, 'omnifm.'):\n"
        "    if not module.name.startswith(('omnifm.deploy.', 'omnifm.engines.flower.', 'omnifm.__main__')):\n"
        "        importlib.import_module(module.name)\n"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", BLIND, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_asks_no_task_its_name(path: Path) -> None:
    text = re.sub(r"[-_\s]+", "_", path.read_text(encoding="utf-8"))
    assert registry.TASKS
    named = [task for task in registry.TASKS if re.search(rf"(?i)(?<![a-z]){task}", text)]
    assert not named, f"{path} names {named}"


def test_the_blind_files_are_found() -> None:
    rooms = {path.relative_to(ROOT / "omnifm").parts[0] for path in BLIND}
    assert {"spectral", "algorithms", "engines", "federation", "results", "cli"} <= rooms
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


def public_names(path: Path) -> list[str]:
    """Return the classes, functions and constants that a file defines at its top, but for those of its own use."""
    found: list[str] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [target.id for target in targets if isinstance(target, ast.Name)]
    return [name for name in dict.fromkeys(found) if not name.startswith("_")]


def twice(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return, of names and the places where they stand, those that stand in several."""
    found = defaultdict(list)
    for name, place in places:
        found[name].append(place)
    return {name: where for name, where in found.items() if len(where) > 1}


def inside(path: Path) -> str:
    return path.relative_to(ROOT / "omnifm").as_posix()


def test_no_public_name_is_given_twice() -> None:
    # A command is a function called what the user types, and is called nowhere.
    library = [path for path in SOURCES if inside(path).partition("/")[0] != "cli" and path.name != "commands.py"]
    found = twice((name, inside(path)) for path in library for name in public_names(path) if name not in COMMANDS)
    assert not found


def test_no_two_files_have_one_name() -> None:
    found = twice((path.stem, inside(path)) for path in SOURCES)
    assert not {name: where for name, where in found.items() if name not in PARALLEL}


def test_files_are_short() -> None:
    lengths = {inside(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not {name: lines for name, lines in lengths.items() if lines > 300}


def words(text: str) -> set[str]:
    """Return the words of a text in small letters; those that an identifier is made of count one by one."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", re.sub(ORDINARY, "", text))}


def old_words(text: str) -> set[str]:
    return words(text) & {form for word in FORBIDDEN for form in (word, f"{word}s")}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("forward, backward, towards, afterwards, reward, forwards", set()),
        ("ordinary letters and digits", set()),
        ("load_cohort(Ward)", {"cohort", "ward"}),
        ("a LedgerEntry of the crew's", {"ledger", "crew"}),
        ("AFAR_PLAYED, yardsticks", {"afar", "yardsticks"}),
    ],
)
def test_old_words_differ_from_ordinary_ones(text: str, found: set[str]) -> None:
    assert old_words(text) == found


@pytest.mark.parametrize("place", ["omnifm", "docs", "README.md", "examples"])
def test_the_old_words_are_gone(place: str) -> None:
    files = [path for path in [ROOT / place, *(ROOT / place).rglob("*")] if path.suffix in TEXTS]
    assert files
    found = {}
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        for number, line in enumerate([name, *path.read_text(encoding="utf-8").splitlines()]):
            if old := old_words(line) - ({"letters"} if name in OF_THE_ALPHABET else set()):
                found[f"{name}:{number}"] = sorted(old)
    assert not found


def modules(name: str) -> set[str]:
    """Return the packages that are loaded after an import."""
    done = python(f"import sys, {name}; print(*{{name.partition('.')[0] for name in sys.modules}})")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
