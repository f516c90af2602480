"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnifm.cli.console import err

Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file.")]
Limit = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="End after a round, in time to be resumed (90s, 30m, 1h30m): exit status 75."),
]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Remove what the folder holds of an earlier run, and start again.")
]


NoCache = Annotated[bool, typer.Option("--no-cache", help="Read the images anew, and keep none in the cache.")]


def _count(text: str) -> int:
    """Read ``--workers``; 0 means one per core."""
    if text == "auto":
        return 0
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither 'auto' nor a number from 1 up.")


Workers = Annotated[int, typer.Option(metavar="auto|N", parser=_count, help="Parallel processes; auto: one per core.")]


def new_folder(name: str, overwrite: bool) -> Path:
    """Return ``runs/NAME``; where that holds a run which may not be overwritten, a free number is appended and said."""
    from omnifm.runs.clearing import free_folder

    folder = Path("runs") / name
    free = folder if overwrite else free_folder(folder)
    if free != folder:
        err.print(f"{folder} holds a run already: this one goes to {free}.", markup=False, soft_wrap=True)
    return free
