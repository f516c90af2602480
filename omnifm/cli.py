"""The ``omnifm`` command; thin. What is slow to import is imported when a command needs it."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from omnifm.deploy.commands import app as deploy_app
from omnifm.errors import ExperimentError, OmniFMError, OutOfTime
from omnifm.interrupts import Interrupted, interruptible
from omnifm.lock import locked

if TYPE_CHECKING:
    from omnifm.arm import Arm
    from omnifm.data.cohort import Cohort
    from omnifm.experiment import Plan
    from omnifm.federation import Callback
    from omnifm.limit import TimeLimit

app = typer.Typer(
    help="Federated learning of medical images across modalities and tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at the data of an experiment.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(deploy_app, name="deploy")
_out, _err = Console(), Console(stderr=True)

Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file.")]
Limit = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="End after a round, in time to be resumed (90s, 30m, 1h30m): exit status 75."),
]
OUT_OF_TIME = 75
"""The exit status when time is up: EX_TEMPFAIL of sysexits.h, try again later."""


def _count(text: str) -> int:
    """Read ``--workers``: 0 stands for one a core."""
    if text == "auto":
        return 0
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither 'auto' nor a number from 1 up.")


Workers = Annotated[
    int, typer.Option(metavar="auto|N", parser=_count, help="Processes side by side; auto: one a core.")
]


class RunEngine(StrEnum):
    """Who runs the clients."""

    IN_PROCESS = "in-process"
    SIMULATION = "flower-simulation"


@app.command()
def run(
    experiment: Annotated[Path | None, typer.Argument(help="The experiment file (TOML).")] = None,
    overrides: Set = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    workers: Workers = "auto",  # type: ignore[assignment]
    time_limit: Limit = None,
    engine: Annotated[
        RunEngine, typer.Option(help="Who runs the clients; Flower's simulation needs Ray.")
    ] = RunEngine.IN_PROCESS,
) -> None:
    """Train every arm of an experiment, print the table of test results, and write the report."""
    started = time.monotonic()
    from omnifm.experiment import read_plan
    from omnifm.limit import TimeLimit

    _check_asked("run", experiment, overrides, out, resume)
    limit = TimeLimit(time_limit, started)
    given = None if experiment is None else read_plan(experiment, overrides or ())
    folder = resume or out or Path("runs") / (given.name if given else "")
    _play("run", given, folder, resume is None, workers, limit, engine)


@app.command()
def pretrain(
    experiment: Annotated[
        Path | None, typer.Argument(help="The experiment file (TOML); its arms are left out.")
    ] = None,
    overrides: Set = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The weights; runs/NAME.safetensors if not given.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with the run in this folder, beside the weights.")
    ] = None,
    workers: Workers = "auto",  # type: ignore[assignment]
    time_limit: Limit = None,
) -> None:
    """Train on all data in one place, and write the weights that other experiments may start from (init = FILE)."""
    started = time.monotonic()
    from omnifm.experiment import read_plan
    from omnifm.limit import TimeLimit
    from omnifm.pretrained.export import write_start
    from omnifm.pretrained.pretraining import file_of, folder_of, pretraining_plan

    _check_asked("pretrain", experiment, overrides, out, resume)
    limit = TimeLimit(time_limit, started)
    given = None if experiment is None else pretraining_plan(read_plan(experiment, overrides or ()))
    file = file_of(resume) if resume else out or file_of(Path("runs") / (given.name if given else ""))
    folder = resume or folder_of(file)
    if resume is None and file.exists():
        raise ExperimentError(f"{file} is there already. Give another --out.")
    plan = _play("pretrain", given, folder, resume is None, workers, limit)
    write_start(folder, plan, next(iter(plan.arms)), file)
    _out.print(f"Weights: {file}", markup=False, soft_wrap=True)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    folder: Annotated[Path, typer.Argument(help="Where the model goes.")],
    arm: Annotated[str | None, typer.Option(help="Which arm; not needed if there is one.")] = None,
    client: Annotated[str | None, typer.Option(help="Add what is this hospital's own.")] = None,
) -> None:
    """Write the model of a run's best round, as received: weights to start from, and what other libraries read."""
    from omnifm import runs
    from omnifm.pretrained.export import export_arm
    from omnifm.results.comparison.write import is_comparison

    if is_comparison(run):
        raise ExperimentError(f"{run} holds a comparison, which keeps no weights. Export from a run.")
    lacking = export_arm(run, runs.plan_of(run), arm, client, folder)
    if lacking:
        note = "" if client else ", which are each hospital's own: name one with --client"
        _err.print(f"Shared weights only: it lacks {len(lacking)} tensors{note}.", markup=False, soft_wrap=True)
    _out.print(f"Model: {folder}", markup=False, soft_wrap=True)


def _check_asked(
    command: str, experiment: Path | None, overrides: list[str] | None, out: Path | None, resume: Path | None
) -> None:
    if experiment is None and (resume is None or overrides):
        raise ExperimentError("Give an experiment file, or --resume FOLDER alone to go on with a run.")
    if resume is not None and out is not None:
        raise ExperimentError(f"--out and --resume are two places for one {command}: give only one of them.")


def _play(
    command: str,
    given: Plan | None,
    folder: Path,
    fresh: bool,
    workers: int,
    limit: TimeLimit,
    engine: RunEngine = RunEngine.IN_PROCESS,
) -> Plan:
    """Play a run into its folder and tell what it found."""
    from omnifm import runs
    from omnifm.playing import ThisMachine
    from omnifm.progress import LiveProgress
    from omnifm.results.table import result_table
    from omnifm.workers.crew import auto_workers

    begun = partial(runs.has_begun, folder)
    live = LiveProgress(_err)
    crew = workers or auto_workers()

    def watch(name: str, arm: Arm) -> list[Callback]:
        return [*limit.watch(name, arm), *live.watch(name, arm)]

    with _stoppable(command, "rounds", folder, begun):
        if engine is RunEngine.SIMULATION:
            from omnifm.engines.flower.simulation import simulate

            with _kept("rounds", folder, begun), live:
                simulate(given, folder, not fresh, crew, watch)
        else:
            with locked(folder):
                plan = runs.open_run(folder, given) if given and fresh else runs.reopen_run(folder, given)
                with _kept("rounds", folder, begun), live:
                    runs.play(plan, folder, ThisMachine(crew), watch)
    _tell([result_table(folder)], folder)
    return runs.plan_of(folder)


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
    workers: Workers = "auto",  # type: ignore[assignment]
    time_limit: Limit = None,
) -> None:
    """Compare algorithms: same network, data, rounds and tuning budget; tables and a report."""
    started = time.monotonic()
    from omnifm.comparison.folder import Asked, ComparisonFolder
    from omnifm.comparison.play import Comparison
    from omnifm.experiment import read_plan
    from omnifm.limit import TimeLimit
    from omnifm.progress import StageProgress
    from omnifm.results.comparison.write import write_comparison
    from omnifm.workers.crew import auto_workers

    if resume is not None and out is not None:
        raise ExperimentError("--out and --resume are two folders for one comparison: give only one of them.")
    asked = Asked(algorithms, seeds, ablate, tuple(sweep or ()))
    if experiment is None and (overrides or asked != Asked()):
        raise ExperimentError("Give an experiment file too, or --resume FOLDER alone to go on with a comparison.")
    if experiment is None and resume is None:
        raise ExperimentError("Give an experiment file, or --resume FOLDER to go on with a comparison.")
    limit = TimeLimit(time_limit, started)
    given = None if experiment is None else read_plan(experiment, overrides or ())
    document = given.document if given else None
    fresh = asked.design(document) if document and resume is None else None
    folder = ComparisonFolder(resume or out or Path("runs") / (fresh.name if fresh else ""))
    begun = folder.has_begun
    with _stoppable("compare", "cells", folder.path, begun), locked(folder.path):
        if given and fresh:
            folder.check_free()
            folder.keep_weights(fresh, given.weights)
        design = fresh or folder.reopen(document, asked)
        with _kept("cells", folder.path, begun), StageProgress(_err) as live:
            tolerant = asked.algorithms in (None, "all")
            comparison = Comparison(design, folder, workers or auto_workers(), live, limit, tolerant)
            if fresh:
                folder.open(fresh.document, asked)
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
def _stoppable(command: str, things: str, folder: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Say, when the block is asked to end before its time, that the finished rounds (or cells) are kept, and leave."""
    try:
        with interruptible():
            yield
    except (Interrupted, OutOfTime) as end:
        stopped, status = ("Stopped", end.status) if isinstance(end, Interrupted) else ("Time is up", OUT_OF_TIME)
        again = f"omnifm {command} --resume {shlex.quote(str(folder))}"
        kept = f". The finished {things} are kept: go on with  {again}" if begun() else " before the first round."
        _err.print(f"{stopped}{kept}", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(status) from None


@contextmanager
def _kept(things: str, folder: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Say, when the block fails, that the finished rounds (or cells) are kept."""
    try:
        yield
    except OmniFMError as error:
        if not begun():
            raise
        raise type(error)(f"{error}\nThe finished {things} are kept in {folder}.") from None
    except (MemoryError, RuntimeError, OSError) as error:
        from omnifm.workers.memory import is_shortage

        if is_shortage(error):
            text = "There is not enough memory. Lower training.batch_size, data.size or --workers."
        elif isinstance(error, OSError):
            text = _told(error)
        else:
            raise
        raise OmniFMError(f"{text}\nThe finished {things} are kept in {folder}: mend that, then resume.") from None


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
