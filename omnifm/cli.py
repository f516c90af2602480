"""The ``omnifm`` command; thin. What is slow to import is imported when a command needs it."""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
    from omnifm.experiment import read_plan
    from omnifm.progress import LiveProgress
    from omnifm.results.table import result_table
    from omnifm.workers.crew import auto_workers

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
    again = f"omnifm run --resume {shlex.quote(str(folder))}"
    with _kept(again, "rounds", folder, lambda: runs.has_begun(folder)), LiveProgress(_err) as live:
        runs.play(plan, folder, workers or auto_workers(), live.watch)
    _tell([result_table(folder)], folder)


@app.command()
def compare(
    experiment: Annotated[Path | None, typer.Argument(help="The experiment file (TOML).")] = None,
    algorithms: Annotated[
        str | None,
        typer.Option(metavar="all|A,B,...", help="Algorithms, or arms of the file; if not given, its arms, or all."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="OmniFM's pieces off one at a time, and its controls.")
    ] = False,
    sweep: Annotated[list[str] | None, typer.Option(metavar="KEY=A,B,C", help="Play each value of a key.")] = None,
    overrides: Set = None,
    out: Annotated[Path | None, typer.Option(help="The folder; runs/NAME if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the comparison in this folder.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Cells at a time; 0 for one a core.")] = 0,
) -> None:
    """Compare algorithms: same network, data, rounds and tuning budget; tables and a report."""
    from omnifm.comparison.folder import Asked, ComparisonFolder
    from omnifm.comparison.play import Comparison
    from omnifm.experiment import read_plan
    from omnifm.progress import StageProgress
    from omnifm.results.comparison.write import write_comparison
    from omnifm.workers.crew import auto_workers

    if resume is not None and out is not None:
        raise ExperimentError("--out and --resume are two folders for one comparison: give only one of them.")
    asked = Asked(algorithms, seeds, ablate, tuple(sweep or ()))
    if experiment is None and (overrides or asked != Asked()):
        raise ExperimentError("Give an experiment file too, or --resume FOLDER alone to go on with a comparison.")
    document = None if experiment is None else read_plan(experiment, overrides or ()).document
    if resume is not None:
        folder = ComparisonFolder(resume)
        design = folder.reopen(document, asked)
    elif document is None:
        raise ExperimentError("Give an experiment file, or --resume FOLDER to go on with a comparison.")
    else:
        design = asked.design(document)
        folder = ComparisonFolder(out or Path("runs") / design.name)
        folder.check_free()
    again = f"omnifm compare --resume {shlex.quote(str(folder.path))}"
    with _kept(again, "cells", folder.path, folder.record.exists), StageProgress(_err) as live:
        tolerant = asked.algorithms in (None, "all")
        comparison = Comparison(design, folder, workers or auto_workers(), live, tolerant)
        if resume is None:
            folder.open(design.document, asked)
        comparison.play()
    _tell(write_comparison(folder.path), folder.path)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="The folder of a run or a comparison.")]) -> None:
    """Print the tables of a run or a comparison and write its report anew."""
    from omnifm.results.comparison.write import is_comparison, write_comparison
    from omnifm.results.report import write_report
    from omnifm.results.table import result_table

    if is_comparison(folder):
        tables = write_comparison(folder)
    else:
        write_report(folder)
        tables = [result_table(folder)]
    _tell(tables, folder)


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


def _tell(tables: Iterable[Table], folder: Path) -> None:
    for table in tables:
        _out.print(table)
    _out.print(f"Report: {folder / 'report.html'}", markup=False, soft_wrap=True)


@contextmanager
def _kept(again: str, things: str, folder: Path, has_begun: Callable[[], bool]) -> Iterator[None]:
    """Tell, when the block ends before its time, that the finished rounds (or cells) are kept, and how to go on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a request to end is like Ctrl-C
    try:
        yield
    except KeyboardInterrupt:
        text = f"Stopped. The finished {things} are kept: go on with  {again}"
        _err.print(text, markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    except OmniFMError as error:
        if not has_begun():
            raise
        raise type(error)(f"{error}\nThe finished {things} are kept in {folder}.") from None
    except OSError as error:
        raise OmniFMError(
            f"{_told(error)}\nThe finished {things} are kept in {folder}: mend that, then resume."
        ) from None


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
