"""The reference of the commands, made from the program itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import typer.main

from omnifm.cli import app


def markdown() -> str:
    """Return the reference: a section for each command."""
    command = typer.main.get_command(app)
    return "\n".join(_sections(command, click.Context(command, info_name="omnifm"), "omnifm"))


def _sections(command: click.Command, context: click.Context, name: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for part, inner in command.commands.items():
            if not inner.hidden:
                yield from _sections(inner, click.Context(inner, info_name=part, parent=context), f"{name} {part}")
        return
    yield f"## `{name}`\n\n{_prose(command.help or '')}\n"
    yield f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    rows = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
    yield "\n| argument or option | meaning |\n| --- | --- |"
    yield from (f"| `{_cell(written)}` | {_cell(_prose(meaning))} |" for written, meaning in rows)
    yield ""


def _prose(text: str) -> str:
    """Return a help text on its paragraphs' own lines, without click's marks."""
    return "\n\n".join(
        " ".join(part.split()) for part in re.split(r"\n\s*\n", text.replace("\b", "").replace("\f", ""))
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
