"""Running a comparison: tuning on validation data first, and only then the test data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from multiprocessing.sharedctypes import RawArray
from typing import Any, Literal, NamedTuple, Protocol

from omnifm.callbacks.callback import Callback, notify, notify_at_end
from omnifm.callbacks.events import RoundEvent, RunEnd, RunInfo
from omnifm.callbacks.registry import make_callbacks
from omnifm.callbacks.time_limit import TimeLimit
from omnifm.comparison.arms import names_all
from omnifm.comparison.choice import choose
from omnifm.comparison.comparison_folder import ComparisonFolder, ComparisonOptions, Outcome
from omnifm.comparison.design import ArmDesign, Cell, Design
from omnifm.comparison.record import Checked, make_record
from omnifm.config.experiment import Experiment, Plan
from omnifm.core.checkpoint import Checkpoint
from omnifm.data.federated_dataset import DataSettings, FederatedDataset
from omnifm.data.partition import PartitionSettings
from omnifm.data.recorded_dataset import load_recorded, warn_of_no_record
from omnifm.results.write import write_results
from omnifm.runs.arm import make_arm
from omnifm.runs.backend import LocalBackend
from omnifm.runs.clearing import clear
from omnifm.runs.run_arm import run_arm
from omnifm.utils.atomic_write import remove_strays
from omnifm.utils.errors import IncompatibleError, NonFiniteLossError, OutOfTime
from omnifm.utils.lock import locked
from omnifm.workers.pool import WorkerPool

Datasets = dict[tuple[DataSettings, PartitionSettings, int], FederatedDataset]
Stage = Literal["train", "test"]


class CellJob(NamedTuple):
    """A cell to train or test, and its place in the stage."""

    stage: Stage
    cell: Cell
    place: int


class Progress(Protocol):
    """Shows the progress of a comparison."""

    def stage(self, name: str, total: int) -> None:
        """A stage of ``total`` rounds, or cells, begins."""
        ...

    def advance_to(self, done: int) -> None:
        """So many of them are done."""
        ...


class Comparison:
    """A design, run in a folder. ``tolerant``: an algorithm that does not support the task is skipped, and reported.

    ``callbacks`` receive the events of every cell before those that the experiment names. Without ``use_cache`` images
    are read anew and not kept.
    """

    def __init__(
        self,
        design: Design,
        folder: ComparisonFolder,
        *,
        workers: int,
        progress: Progress,
        limit: TimeLimit,
        tolerant: bool = False,
        callbacks: Sequence[Callback] = (),
        use_cache: bool = True,
    ) -> None:
        self.design, self.folder, self.progress, self.limit = design, folder, progress, limit
        self.use_cache = use_cache
        self.run = RunInfo(design.name, folder.path)
        self.callbacks = [*callbacks, *make_callbacks(design.document)]
        self.datasets: Datasets = {}
        self.checked = Checked()
        for arm in design.arms:
            self._check(arm, tolerant)
        experiments = [arm.experiment(0, design.seeds[0]) for arm in design.arms]
        self.workers = workers if all(experiment.device == "cpu" for experiment in experiments) else 0

    def _check(self, arm: ArmDesign, tolerant: bool) -> None:
        """Build every point of an arm once, so that errors are reported before any training."""
        try:
            for point in range(len(arm.points)):
                for seed in self.design.seeds:
                    dataset = self._load(arm.experiment(point, seed))
                made = make_arm(arm.experiment(point, seed), dataset, self.folder.kept)
        except IncompatibleError as error:
            if not tolerant:
                raise IncompatibleError(f"In arm {arm.name!r}: {error}") from None
            self.checked.unfit[arm.name] = str(error)
        else:
            self.checked.metric = made.task.main_metric
            remarks = (made.algorithm.remark(made.runtime.model.network), made.caution)
            self.checked.remarks[arm.name] = " ".join(filter(None, remarks))

    def _load(self, experiment: Experiment) -> FederatedDataset:
        key = experiment.data, experiment.partition, experiment.seed
        if key not in self.datasets:
            data = experiment.data if self.use_cache else replace(experiment.data, cache_limit=0.0)
            self.datasets[key] = load_recorded(self.folder.data, data, experiment.partition, experiment.seed)
        return self.datasets[key]

    def execute(self) -> None:
        """Run all cells that the folder lacks, and write the record.

        A point whose loss becomes NaN or infinite cannot be chosen; that is a result, not an error.

        Raises:
            OutOfTime: the limit has been reached; every running cell has finished its round.
        """
        most = max(len(self.design.tuning()), len(self.design.chosen({arm.name: 0 for arm in self.design.arms})))
        self.finished = RawArray("q", most)  # finished rounds of each cell of a stage, written by its worker alone
        with notify_at_end(self.callbacks, Callback.on_run_end, partial(RunEnd, self.run)):
            notify(self.callbacks, Callback.on_run_start, self.run)
            if self.workers > 1:
                with WorkerPool(self.workers, self._do) as worker_pool:
                    self._stages(worker_pool)
            else:
                self._stages(None)

    def _stages(self, worker_pool: WorkerPool[CellJob, bool] | None) -> None:
        fit = [arm for arm in self.design.arms if arm.name not in self.checked.unfit]
        tuning = [cell for cell in self.design.tuning() if cell.arm in fit]
        self._train("tuning", tuning, worker_pool)
        choice = choose(self.design, self.folder, fit)
        for cell in tuning:
            if cell.point != choice.get(cell.arm.name):
                self.folder.forget_weights(cell)
        chosen = self.design.chosen(choice)
        self._train("running", chosen, worker_pool)
        trained = [cell for cell in chosen if (outcome := self.folder.outcome(cell)) and outcome.failure is None]
        waiting = [cell for cell in trained if not self.folder.cell(cell).result.exists()]
        self.progress.stage("testing", len(waiting))
        self._spread("test", waiting, worker_pool)
        remove_strays(self.folder.path / "cells")  # of killed workers; `report` writes elsewhere
        self.folder.keep_record(make_record(self.design, self.folder, self.checked, choice))

    def _train(self, name: str, cells: Sequence[Cell], worker_pool: WorkerPool[CellJob, bool] | None) -> None:
        waiting = [cell for cell in cells if self.folder.outcome(cell) is None]
        self.progress.stage(name, sum(cell.experiment.federation.rounds for cell in waiting))
        self._spread("train", waiting, worker_pool)

    def _spread(self, stage: Stage, cells: Sequence[Cell], worker_pool: WorkerPool[CellJob, bool] | None) -> None:
        """Train or test each cell, in parallel where there is a worker pool."""
        self.finished[:] = [0] * len(self.finished)
        tasks = {str(cell.folder): CellJob(stage, cell, place) for place, cell in enumerate(cells)}
        done = (
            map(self._do, tasks.values())
            if worker_pool is None
            else worker_pool.run(list(tasks), tasks.__getitem__, self._advance)
        )
        in_time = True
        for one in done:
            in_time &= one
            self._advance()
        if not in_time:
            raise OutOfTime("Time is up")

    def _advance(self) -> None:
        self.progress.advance_to(sum(self.finished))

    def _do(self, task: CellJob) -> bool:
        """Run a job, in any process; return False if time was up before its last round."""
        if task.stage == "test":
            self._run(task)
            self.folder.forget_weights(task.cell)
            self.finished[task.place] = 1
            return True
        if self.limit.is_over:
            return False
        try:
            last = self._run(task, self.limit, _Count(self.finished, task.place))
        except OutOfTime:
            return False
        except NonFiniteLossError as error:
            self.folder.keep_outcome(task.cell, Outcome({}, str(error)))
        else:
            self.folder.keep_outcome(task.cell, Outcome(last.best))
        self.finished[task.place] = task.cell.experiment.federation.rounds  # also those that will never run
        return True

    def _run(self, task: CellJob, *callbacks: Callback) -> Checkpoint:
        experiment, folder, test = task.cell.experiment, self.folder.cell(task.cell), task.stage == "test"
        backend = LocalBackend(dataset=self._load(experiment))
        everyone = [*callbacks, *self.callbacks]
        name = task.cell.arm.name
        return run_arm(name, experiment, backend, folder, self.run, everyone, test, keep_models=False)


def compare_locked(
    given: Plan | None,
    fresh: Design | None,
    options: ComparisonOptions,
    folder: ComparisonFolder,
    workers: int,
    progress: Progress,
    limit: TimeLimit,
    callbacks: Sequence[Callback] = (),
    guard: AbstractContextManager[object] | None = None,
    overwrite: bool = False,
    use_cache: bool = True,
) -> None:
    """Create a comparison of a ``fresh`` design, or resume the folder's, and run it, its folder locked.

    ``guard`` is entered after the folder has been checked and before anything runs. With ``overwrite`` a run or
    comparison that the folder holds is removed first. ``use_cache`` is as in :class:`Comparison`.

    Raises:
        FolderInUseError: another process holds the folder.
        ExperimentError, OutOfTime: as :class:`ComparisonFolder` and :meth:`Comparison.execute`.
    """
    if fresh is None:
        folder.check_begun()  # else a lock file would be left in an unrelated folder
    with locked(folder.path):
        if given and fresh:
            if overwrite:
                clear(folder.path)
            folder.check_free()
            folder.keep_weights(fresh, given.weights)
            folder.data.forget()  # of a comparison that never began
        elif not folder.data.exists():
            warn_of_no_record(folder.data)
        design = fresh or folder.reopen(given.document if given else None, options)
        with guard or nullcontext():
            tolerant = names_all(options.algorithms)
            comparison = Comparison(
                design,
                folder,
                workers=workers,
                progress=progress,
                limit=limit,
                tolerant=tolerant,
                callbacks=callbacks,
                use_cache=use_cache,
            )
            if fresh:
                folder.open(fresh.document, options)
            comparison.execute()
    write_results(folder.path)


class _Count(Callback):
    """Counts the finished rounds of a cell."""

    def __init__(self, finished: Any, place: int) -> None:
        self.finished, self.place = finished, place

    def on_round_end(self, event: RoundEvent) -> None:
        """Count a round."""
        self.finished[self.place] = event.round
