"""The ``omnifm`` command; thin. What is slow to import is imported when a command needs it."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omnifm.errors import ExperimentError, OmniFMError

if TYPE_CHECKING:
    from omnifm.data.cohort import Cohort

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
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Clients at a time; 0 for one a core.")] = 0,
) -> None:
    """Train every arm of an experiment, print the table of test results, and write the report."""
    from omnifm import runs
    from omnifm.crew import auto_workers
    from omnifm.experiment import read_plan
    from omnifm.progress import LiveProgress
    from omnifm.results.table import result_table

    if experiment is None and (resume is None or overrides):
        raise ExperimentError("Give an experiment file, or --resume FOLDER alone to go on with a run.")
    if resume is not None and out is not None:
        raise ExperimentError("--out and --resume are two folders for one run: give only one of them.")
    plan = None if experiment is None else read_plan(experiment, overrides or ())
    if resume is not None:
        folder, plan = resume, runs.reopen_run(resume, plan)
    else:
        assert plan is not None
        folder = out or Path("runs") / plan.name
        runs.open_run(folder, plan)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a request to end is like Ctrl-C
    try:
        with LiveProgress(_err) as live:
            runs.play(plan, folder, workers or auto_workers(), live.watch)
    except KeyboardInterrupt:
        text = f"Stopped. The finished rounds are kept: go on with  omnifm run --resume {shlex.quote(str(folder))}"
        _err.print(text, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    except OmniFMError as error:
        if not runs.has_begun(folder):
            raise
        raise type(error)(f"{error}\nThe finished rounds are kept in {folder}.") from None
    except OSError as error:
        raise OmniFMError(
            f"{_told(error)}\nThe finished rounds are kept in {folder}: mend that, then resume."
        ) from None
    _out.print(result_table(folder))
    _out.print(f"Report: {folder / 'report.html'}", markup=False, soft_wrap=True)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run's folder.")]) -> None:
    """Print a run's table and write its report anew."""
    from omnifm.results.report import write_report
    from omnifm.results.table import result_table

    path = write_report(folder)
    _out.print(result_table(folder))
    _out.print(f"Report: {path}", markup=False, soft_wrap=True)


@data_app.command("show")
def data_show(
    experiment: Annotated[Path, typer.Argument(help="The experiment file (TOML).")],
    overrides: Set = None,
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("data.png"),
) -> None:
    """Show who holds what: a table, and a picture of samples and label counts for each client."""
    from omnifm.data.cohort import load_cohort
    from omnifm.data.show import picture
    from omnifm.experiment import read_plan

    first = next(iter(read_plan(experiment, overrides or ()).arms.values()))
    cohort = load_cohort(first.data, first.partition, first.seed)
    _out.print(_cohort_table(cohort))
    try:
        picture(cohort, out)
    except (OSError, ValueError) as error:
        raise ExperimentError(f"The picture {out} cannot be written: {error}.") from None
    _out.print(f"Picture: {out}", markup=False, soft_wrap=True)


def _cohort_table(cohort: Cohort) -> Table:
    from omnifm.data.show import describe

    table = Table("client", "modality")
    for column in ("train", "validation", "test", "patients"):
        table.add_column(column, justify="right")
    table.add_column("training images of each class")
    for row in describe(cohort):
        counts: list[Any] = [row["train"], row["validation"], row["test"], row["patients"]]
        labels = ", ".join(f"{name.rsplit('/', 1)[-1]} {count}" for name, count in row["labels"].items())
        table.add_row(escape(row["client"]), escape(row["group"]), *map(str, counts), escape(labels))
    return table


def main() -> None:
    """Run the command; a user's mistake is one message and exit status 1."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Warnings()])
    try:
        app()
    except (OmniFMError, OSError) as error:
        text = _told(error) if isinstance(error, OSError) else str(error)
        _err.print(f"[bold red]Error:[/] {escape(text)}", highlight=False, soft_wrap=True)
        sys.exit(1)


class _Warnings(logging.Handler):
    """Prints warnings as the errors are printed; a long path stays on one line, to be copied."""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"[yellow]{record.levelname.capitalize()}:[/] {escape(record.getMessage())}"
        _err.print(text, highlight=False, soft_wrap=True)


def _told(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."
