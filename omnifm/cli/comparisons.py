"""Compare algorithms."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from omnifm.cli.console import err, print_tables
from omnifm.cli.options import Limit, NoCache, Overwrite, Set, Workers, new_folder
from omnifm.cli.resume import kept, stoppable
from omnifm.utils.errors import ExperimentError


def compare(
    experiment: Annotated[Path | None, typer.Argument(help="The experiment file (TOML).")] = None,
    algorithms: Annotated[
        str | None,
        typer.Option(metavar="all|A,B,...", help="Algorithms, or arms by name; if not given, the file's, or all."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="OmniFM without one of its parts at a time, and its controls.")
    ] = False,
    sweep: Annotated[list[str] | None, typer.Option(metavar="KEY=A,B,C", help="Run each value of a key.")] = None,
    overrides: Set = None,
    out: Annotated[Path | None, typer.Option(help="The folder; runs/NAME if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume the comparison in this folder.")] = None,
    workers: Workers = "auto",  # type: ignore[assignment]
    time_limit: Limit = None,
    overwrite: Overwrite = False,
    no_cache: NoCache = False,
) -> None:
    """Compare algorithms: same network, data, rounds and tuning budget; tables and a report."""
    started = time.monotonic()
    from omnifm.callbacks.progress import StageProgress
    from omnifm.callbacks.round_lines import StageLines
    from omnifm.callbacks.time_limit import TimeLimit
    from omnifm.comparison.compare import compare_locked
    from omnifm.comparison.comparison_folder import ComparisonFolder, ComparisonOptions
    from omnifm.config.experiment import read_plan
    from omnifm.results.write import terminal_tables
    from omnifm.workers.pool import auto_workers

    if resume is not None and out is not None:
        raise ExperimentError("--out and --resume are two folders for one comparison: give only one of them.")
    options = ComparisonOptions(algorithms, seeds, ablate, tuple(sweep or ()))
    if experiment is None and (overrides or options != ComparisonOptions()):
        raise ExperimentError("Give an experiment file too, or --resume FOLDER alone to resume a comparison.")
    if experiment is None and resume is None:
        raise ExperimentError("Give an experiment file, or --resume FOLDER to resume a comparison.")
    limit = TimeLimit(time_limit, started)
    given = None if experiment is None else read_plan(experiment, overrides or ())
    fresh = options.design(given.document) if given and resume is None else None
    folder = ComparisonFolder(resume or out or new_folder(fresh.name if fresh else "", overwrite))
    begun = folder.has_begun
    guard = kept("cells", folder.path, begun)
    progress = StageProgress(err) if err.is_terminal else StageLines(err)
    with stoppable("compare", "cells", folder.path, begun), progress as live:
        compare_locked(
            given,
            fresh,
            options,
            folder,
            workers or auto_workers(),
            live,
            limit,
            guard=guard,
            overwrite=overwrite,
            use_cache=not no_cache,
        )
    print_tables(terminal_tables(folder.path), folder.path)
