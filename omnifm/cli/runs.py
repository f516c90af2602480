"""Run an experiment, pretrain weights to start from, export a model of a run."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnifm.cli.console import err, print_tables, say, working
from omnifm.cli.options import Limit, NoCache, Overwrite, Set, Workers, new_folder
from omnifm.cli.resume import kept, stoppable
from omnifm.utils.errors import ExperimentError

if TYPE_CHECKING:
    from omnifm.callbacks.time_limit import TimeLimit
    from omnifm.config.experiment import Plan


def run(
    experiment: Annotated[Path | None, typer.Argument(help="The experiment file (TOML).")] = None,
    overrides: Set = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume the run in this folder.")] = None,
    workers: Workers = "auto",  # type: ignore[assignment]
    time_limit: Limit = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="in-process|flower-simulation", help="The engine that runs the clients; Flower's needs Ray."
        ),
    ] = "in-process",
    overwrite: Overwrite = False,
    no_cache: NoCache = False,
) -> None:
    """Train every arm of an experiment, print the table of test results, and write the report."""
    started = time.monotonic()
    from omnifm.callbacks.time_limit import TimeLimit
    from omnifm.config.experiment import read_plan

    _check_options("run", experiment, overrides, out, resume)
    limit = TimeLimit(time_limit, started)
    given = None if experiment is None else read_plan(experiment, overrides or ())
    folder = resume or out or new_folder(given.name if given else "", overwrite)
    _execute("run", given, folder, resume is None, workers, limit, engine, overwrite=overwrite, use_cache=not no_cache)


def pretrain(
    experiment: Annotated[
        Path | None, typer.Argument(help="The experiment file (TOML); its arms are left out.")
    ] = None,
    overrides: Set = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The weights; runs/NAME.safetensors if not given.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Resume the run in this folder, beside the weights.")
    ] = None,
    workers: Workers = "auto",  # type: ignore[assignment]
    time_limit: Limit = None,
    overwrite: Overwrite = False,
) -> None:
    """Train on all data in one place, and write the weights that other experiments may start from (init = FILE)."""
    started = time.monotonic()
    from omnifm.callbacks.time_limit import TimeLimit
    from omnifm.config.experiment import read_plan
    from omnifm.export.loaded_arm import LoadedArm
    from omnifm.export.weights import write_start
    from omnifm.runs.pretrain import file_of, folder_of, pretraining_plan

    _check_options("pretrain", experiment, overrides, out, resume)
    limit = TimeLimit(time_limit, started)
    given = None if experiment is None else pretraining_plan(read_plan(experiment, overrides or ()))
    file = file_of(resume) if resume else out or file_of(Path("runs") / (given.name if given else ""))
    folder = resume or folder_of(file)
    if resume is None and file.exists() and not overwrite:
        raise ExperimentError(f"{file} exists already. Give another --out, or --overwrite.")
    plan = _execute("pretrain", given, folder, resume is None, workers, limit, overwrite=overwrite)
    write_start(LoadedArm.of(folder, plan), file)
    say(f"Weights: {file}")


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    folder: Annotated[
        Path | None, typer.Argument(help="The folder of the model; without it, RUN/export/FORMAT.", show_default=False)
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Which arm; not needed if there is one.")] = None,
    client: Annotated[str | None, typer.Option(help="Add this hospital's personal tensors.")] = None,
    file_format: Annotated[
        str,
        typer.Option("--format", metavar="safetensors|onnx|torch|monai-bundle", help="What other programs read."),
    ] = "safetensors",
) -> None:
    """Write the model of a run's best round, as received: weights to start from, or a program for other libraries."""
    with working("Loading the model") as tell:
        from omnifm.export.formats import export_model
        from omnifm.export.loaded_arm import LoadedArm
        from omnifm.results.result_folder import refuse_comparison
        from omnifm.runs import run as runs

        refuse_comparison(run, ", which keeps no weights. Export from a run")
        folder = folder or run / "export" / file_format
        loaded = LoadedArm.of(run, runs.plan_of(run), arm)
        tell(f"Writing the model as {file_format}")
        lacking = export_model(loaded, folder, file_format, client)
    if lacking:
        note = "" if client else ", which are each hospital's own (of a run on this machine, --client NAME adds them)"
        err.print(f"Shared weights only: it lacks {len(lacking)} tensors{note}.", markup=False, soft_wrap=True)
    say(f"Model: {folder}")


def _check_options(
    command: str, experiment: Path | None, overrides: list[str] | None, out: Path | None, resume: Path | None
) -> None:
    if experiment is None and (resume is None or overrides):
        raise ExperimentError("Give an experiment file, or --resume FOLDER alone to resume a run.")
    if resume is not None and out is not None:
        raise ExperimentError(f"--out and --resume are two folders for one {command}: give only one of them.")


def _execute(
    command: str,
    given: Plan | None,
    folder: Path,
    fresh: bool,
    workers: int,
    limit: TimeLimit,
    engine: str = "in-process",
    *,
    overwrite: bool = False,
    use_cache: bool = True,
) -> Plan:
    """Run a plan in its folder and print the tables."""
    from omnifm.callbacks.progress import LiveProgress
    from omnifm.callbacks.round_lines import RoundLines
    from omnifm.results.write import terminal_tables
    from omnifm.runs.backend import make_backend
    from omnifm.runs.run import execute_locked, has_begun
    from omnifm.workers.pool import auto_workers

    begun = partial(has_begun, folder)
    backend, live = make_backend(engine, workers or auto_workers()), LiveProgress(err)
    lines = [] if err.is_terminal else [RoundLines(err)]
    guard = kept("rounds", folder, begun)
    with stoppable(command, "rounds", folder, begun), live:
        plan = execute_locked(
            given,
            folder,
            backend,
            [limit, live, *lines],
            fresh=fresh,
            overwrite=overwrite,
            guard=guard,
            use_cache=use_cache,
        )
    print_tables(terminal_tables(folder), folder)
    return plan
