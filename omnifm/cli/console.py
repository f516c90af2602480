"""Output of the command: results on stdout, warnings and errors on stderr."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from omnifm.utils.terminal import SafeConsole


class _Output(SafeConsole):
    """Prints tables without lines where no terminal is, for other programs; wide enough that no cell is folded."""

    def __init__(self) -> None:
        super().__init__()
        if not self.is_terminal:
            self.width = max(100, self.width)  # what the tables are made for

    def print(self, *objects: Any, **options: Any) -> None:
        """Print."""
        for table in objects if not self.is_terminal else ():
            if isinstance(table, Table):
                table.box, table.pad_edge = None, False
        super().print(*objects, **options)


out, err = _Output(), SafeConsole(stderr=True)


def say(text: str) -> None:
    """Print a line that may hold a path, to be copied."""
    out.print(text, markup=False, soft_wrap=True)


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done until the block ends; what is yielded changes the text."""
    if not err.is_terminal:
        yield lambda text: None
        return
    with err.status(escape(text)) as status:
        yield lambda text: status.update(escape(text))


def print_tables(tables: Iterable[RenderableType], folder: Path) -> None:
    """Print tables and the path of the report."""
    for table in tables:
        out.print(table)
    say(f"Report: {folder / 'report.html'}")


def os_error_text(error: OSError) -> str:
    """Return an error of the operating system as a sentence."""
    return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."


def print_error(text: str) -> None:
    """Print why a command has failed."""
    err.print(f"[bold red]Error:[/] {escape(text)}", highlight=False, soft_wrap=True)


class Warnings(logging.Handler):
    """Prints warnings like errors; a long path stays on one line, to be copied."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        text = f"[yellow]{record.levelname.capitalize()}:[/] {escape(record.getMessage())}"
        err.print(text, highlight=False, soft_wrap=True)
