"""The docs hold: links lead somewhere, and the files, names, commands and keys that they mention exist."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

from omnifm.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
]
EXTERNAL = ("transformers", "peft", "my_package")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
        assert not anchor or anchor in anchors(found), target


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"({name})" not in index} == set()


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
def test_the_commands_that_it_shows_exist(page: Path) -> None:
    for line in "\n".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line.partition(";")[0], comments=True)
        if not words or (words[0] != "omnifm" and not words[0].endswith("/omnifm")):
            continue
        command: click.Command = typer.main.get_command(app)
        rest = words[1:]
        while isinstance(command, click.Group):
            assert rest, line
            assert rest[0] in command.commands, line
            command, rest = command.commands[rest[0]], rest[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, line


@each_page
def test_its_toml_can_be_read(page: Path) -> None:
    for block in blocks(page, "toml"):
        tomllib.loads(block)
