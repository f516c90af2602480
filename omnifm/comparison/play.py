"""Playing a comparison: points are tried, validation chooses among them, and only then the test data are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import wait
from multiprocessing import get_context
from typing import Any, Protocol

from omnifm.arm import make_arm
from omnifm.comparison.choice import choose
from omnifm.comparison.design import ArmDesign, Cell, Design
from omnifm.comparison.folder import ComparisonFolder, Outcome
from omnifm.comparison.record import Checked, make_record
from omnifm.crew import Crew, told_if_one_dies
from omnifm.data.cohort import Cohort, DataSettings, load_cohort
from omnifm.data.partition import PartitionSettings
from omnifm.errors import NonFiniteLossError, OutOfTime, UnsuitableError
from omnifm.experiment import Experiment
from omnifm.federation import Callback, Snapshot
from omnifm.limit import TimeLimit
from omnifm.playing import Watcher, play_arm

Cohorts = dict[tuple[DataSettings, PartitionSettings, int], Cohort]
Work = Callable[[Cell], bool]


class Progress(Protocol):
    """Is told how far a comparison has come."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins; ``total`` rounds, or cells, lie ahead."""
        ...

    def advance_to(self, done: int) -> None:
        """So many of them are behind."""
        ...


class Comparison:
    """A design, played into a folder. ``tolerant``: an algorithm that cannot serve the task is left out, and named."""

    def __init__(
        self,
        design: Design,
        folder: ComparisonFolder,
        workers: int,
        progress: Progress,
        limit: TimeLimit,
        tolerant: bool = False,
    ) -> None:
        self.design, self.folder, self.progress, self.limit = design, folder, progress, limit
        self.counter = get_context("fork").Value("q", 0)
        self.cohorts: Cohorts = {}
        self.checked = Checked()
        for arm in design.arms:
            self._check(arm, tolerant)
        experiments = [arm.experiment(0, design.seeds[0]) for arm in design.arms]
        self.workers = workers if all(experiment.device == "cpu" for experiment in experiments) else 0

    def _check(self, arm: ArmDesign, tolerant: bool) -> None:
        """Put every point of an arm together once: a mistake is told before anything has trained."""
        try:
            for point in range(len(arm.points)):
                for seed in self.design.seeds:
                    cohort = self._load(arm.experiment(point, seed))
                made = make_arm(arm.experiment(point, seed), cohort)
        except UnsuitableError as error:
            if not tolerant:
                raise UnsuitableError(f"In arm {arm.name!r}: {error}") from None
            self.checked.unfit[arm.name] = str(error)
        else:
            self.checked.metric = made.task.main_metric
            self.checked.remarks[arm.name] = made.algorithm.remark(made.site.pipeline.network)

    def _load(self, experiment: Experiment) -> Cohort:
        key = _key(experiment)
        if key not in self.cohorts:
            self.cohorts[key] = load_cohort(*key)
        return self.cohorts[key]

    def play(self) -> None:
        """Play all cells that the folder lacks, and write down what was found.

        A point whose loss becomes NaN or infinite cannot be chosen; that is a result, and no error.

        Raises:
            OutOfTime: the limit has been reached; every cell under way has come to the end of a round.
        """
        inherited = self.folder, self.cohorts, self.counter, self.limit
        if self.workers > 1:
            with Crew(self.workers, _inherit, *inherited) as crew:
                self._stages(crew)
        else:
            _inherit(*inherited)
            self._stages(None)

    def _stages(self, crew: Crew | None) -> None:
        fit = [arm for arm in self.design.arms if arm.name not in self.checked.unfit]
        tuning = [cell for cell in self.design.tuning() if cell.arm in fit]
        self._train("tuning", tuning, crew)
        choice = choose(self.design, self.folder, fit)
        for cell in tuning:
            if cell.point != choice.get(cell.arm.name):
                self.folder.forget_weights(cell)
        chosen = self.design.chosen(choice)
        self._train("playing", chosen, crew)
        waiting = [cell for cell in chosen if self._is_trained(cell) and not self.folder.cell(cell).result.exists()]
        self.progress.stage("testing", len(waiting))
        self._spread(_test, waiting, crew)
        self.folder.keep_record(make_record(self.design, self.folder, self.checked, choice))

    def _train(self, name: str, cells: Sequence[Cell], crew: Crew | None) -> None:
        waiting = [cell for cell in cells if self.folder.outcome(cell) is None]
        self.progress.stage(name, sum(cell.experiment.federation.rounds for cell in waiting))
        self._spread(_train, waiting, crew)

    def _spread(self, work: Work, cells: Sequence[Cell], crew: Crew | None) -> None:
        """Do the work on each cell, side by side where there is a crew."""
        self.counter.value = 0
        in_time = True
        if crew is None:
            for cell in cells:
                in_time &= work(cell)
                self.progress.advance_to(self.counter.value)
        else:
            with told_if_one_dies():
                running = {crew.submit(work, cell) for cell in cells}
                while running:
                    done, running = wait(running, timeout=0.5)
                    for future in done:
                        in_time &= future.result()
                    self.progress.advance_to(self.counter.value)
        if not in_time:
            raise OutOfTime

    def _is_trained(self, cell: Cell) -> bool:
        outcome = self.folder.outcome(cell)
        return outcome is not None and outcome.failure is None


class _Count(Callback):
    def __init__(self) -> None:
        self.rounds = 0

    def snapshot(self, snapshot: Snapshot) -> None:
        self.rounds += 1
        _count(1)


_folder: ComparisonFolder  # in a worker: what it inherited
_cohorts: Cohorts
_counter: Any
_limit: TimeLimit


def _inherit(folder: ComparisonFolder, cohorts: Cohorts, counter: Any, limit: TimeLimit) -> None:
    global _folder, _cohorts, _counter, _limit
    _folder, _cohorts, _counter, _limit = folder, cohorts, counter, limit


def _count(number: int) -> None:
    with _counter.get_lock():
        _counter.value += number


def _train(cell: Cell) -> bool:
    """Play a cell's rounds; False if time was up before the last."""
    count = _Count()
    try:
        _limit.check()
        last = _play(cell, lambda *arm: [*_limit.watch(*arm), count], test=False)
    except OutOfTime:
        return False
    except NonFiniteLossError as error:
        _folder.keep_outcome(cell, Outcome({}, str(error)))
    else:
        _folder.keep_outcome(cell, Outcome(last.best))
    _count(cell.experiment.federation.rounds - count.rounds)  # those that were played before, or never will be
    return True


def _test(cell: Cell) -> bool:
    _play(cell, lambda *_: (), test=True)
    _folder.forget_weights(cell)
    _count(1)
    return True


def _play(cell: Cell, watch: Watcher, test: bool) -> Snapshot:
    experiment, folder = cell.experiment, _folder.cell(cell)
    return play_arm(cell.arm.name, experiment, _cohorts[_key(experiment)], folder, 1, watch, test)


def _key(experiment: Experiment) -> tuple[DataSettings, PartitionSettings, int]:
    return experiment.data, experiment.partition, experiment.seed
