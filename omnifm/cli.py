"""The ``omnifm`` command; thin."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from omnifm.errors import OmniFMError

app = typer.Typer(
    help="Federated learning of medical images across modalities and tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at the data of an experiment.", no_args_is_help=True)
app.add_typer(data_app, name="data")
_out, _err = Console(), Console(stderr=True)

Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file.")]


@app.command()
def run(
    experiment: Annotated[Path | None, typer.Argument(help="The experiment file (TOML).")] = None,
    overrides: Set = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder [runs/NAME].")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Clients at a time; 0 for one a core.")] = 0,
) -> None:
    """Train every arm of an experiment, print the table of test results, and write the report."""
    from omnifm import runs
    from omnifm.engines.in_process import auto_workers
    from omnifm.experiment import read_plan
    from omnifm.progress import LiveProgress
    from omnifm.results.table import result_table

    plan = None if experiment is None else read_plan(experiment, overrides or ())
    if resume is not None:
        folder = resume
        plan = runs.reopen_run(resume, plan)
    elif plan is None:
        raise typer.BadParameter("Give an experiment file, or --resume FOLDER.")
    else:
        folder = out or Path("runs") / plan.name
        runs.open_run(folder, plan)
    try:
        with LiveProgress(_err) as live:
            runs.play(plan, folder, workers or auto_workers(), live.watch)
    except KeyboardInterrupt:
        _err.print(f"Stopped. The finished rounds are kept: go on with  omnifm run --resume {folder}")
        raise typer.Exit(130) from None
    _out.print(result_table(folder))
    _out.print(f"Report: {folder / 'report.html'}")


@data_app.command("show")
def data_show(
    experiment: Annotated[Path, typer.Argument(help="The experiment file (TOML).")],
    overrides: Set = None,
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("data.png"),
) -> None:
    """Show who holds what: a table, and a picture of samples and label counts for each client."""
    from omnifm.data.cohort import load_cohort
    from omnifm.data.show import describe, picture
    from omnifm.experiment import read_plan

    plan = read_plan(experiment, overrides or ())
    first = next(iter(plan.arms.values()))
    cohort = load_cohort(first.data, first.partition, first.seed)
    print(describe(cohort))
    picture(cohort, out)
    _out.print(f"Picture: {out}")


def main() -> None:
    """Run the command; a user's mistake is one message and exit status 1."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=_err, show_time=False, show_path=False)],
    )
    try:
        app()
    except OmniFMError as error:
        _err.print(f"[bold red]Error:[/] {error}", highlight=False)
        sys.exit(1)
