"""Write an experiment to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from omnifm.cli.console import say
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import ExperimentError


def init(
    task: Annotated[str, typer.Argument(help="The task; `omnifm list tasks` names them.")],
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help="The algorithm; `omnifm list algorithms` names them.")
    ] = "omnifm",
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the experiment goes.")] = Path("experiment.toml"),
) -> None:
    """Write a commented experiment that runs as it is, on the phantom, and says where your own data go."""
    from omnifm.config.first_experiment import starter_text

    text = starter_text(task, algorithm, out)
    if out.exists() or out.is_symlink():
        raise ExperimentError(f"{out} exists already. Give another --out.")
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise ExperimentError(f"{out} cannot be written: {error.strerror}.") from None
    say(f"Experiment: {out}")
    say(f"Run it with  omnifm run {shlex.quote(str(out))}")
