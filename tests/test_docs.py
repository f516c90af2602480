"""The docs hold: links lead somewhere, and the files, names, commands and keys that they mention exist."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_commands import PAGES

ROOT = Path(__file__).resolve().parents[1]
EXTERNAL = ("transformers", "peft", "my_package", "mine")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names_in(module: Path) -> set[str]:
    """Return the classes and functions of a file, and the methods as ``Class.method``."""
    found = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def imported(code: str) -> Iterator[tuple[str, str]]:
    """Yield the modules and the names that a block takes from them, attributes of ``omnifm`` among them."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "omnifm":
            yield "omnifm", node.attr


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not anchor or anchor in (names_in(found) if found.suffix == ".py" else anchors(found)), target


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"({name})" not in index} == set()
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {name for name in pages if f": {name}\n" not in navigation} == set()


@each_page
def test_the_files_that_it_names_exist(page: Path) -> None:
    named = re.findall(r"(?<![\w/.])(?:omnifm|examples|benchmarks)/[\w/.-]*[\w/]", page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


@each_page
def test_the_names_that_its_python_imports_exist(page: Path) -> None:
    for module, name in (pair for code in blocks(page, "python") for pair in imported(code)):
        if not module.startswith(EXTERNAL):
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


@each_page
def test_its_toml_can_be_read(page: Path) -> None:
    for block in blocks(page, "toml"):
        tomllib.loads(block)
