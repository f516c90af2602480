"""List what an experiment can name."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from omnifm.cli.console import out, say


class Listed(StrEnum):
    """What can be listed: the keys of ``omnifm.config.catalogue.CATALOGUES``, known before that is imported."""

    TASKS = "tasks"
    ALGORITHMS = "algorithms"
    DATA = "data"
    NETWORKS = "networks"


def list_names(
    what: Annotated[Listed, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List tasks, algorithms, data sets or networks, a line each; those of installed packages too."""
    from omnifm.config.catalogue import entries

    found = entries(what)
    if as_json:
        used = {"tasks": "data", "data": "tasks", "networks": "tasks"}.get(what)
        values = [{"name": e.name, "about": e.about, **({used: list(e.used)} if used else {})} for e in found]
        typer.echo(json.dumps(values, indent=1, ensure_ascii=False))
        return
    width = max((len(entry.name) for entry in found), default=0)
    for entry in found:
        used = f" [{', '.join(entry.used)}]" if entry.used and what is not Listed.TASKS else ""
        line = f"{entry.name:<{width}}  {entry.about}{used}"
        if out.is_terminal:
            out.print(line, markup=False, highlight=False, no_wrap=True, overflow="ellipsis")
        else:
            say(line)
