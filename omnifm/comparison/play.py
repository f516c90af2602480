"""Playing a comparison: points are tried, validation chooses among them, and only then the test data are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Protocol

from omnifm.arm import make_arm
from omnifm.comparison.design import ArmDesign, Cell, Design
from omnifm.comparison.folder import ComparisonFolder, Outcome
from omnifm.crew import Crew
from omnifm.data.cohort import Cohort, load_cohort
from omnifm.errors import NonFiniteLossError, OmniFMError, UnsuitableError
from omnifm.experiment import Experiment
from omnifm.federation import Callback, Snapshot
from omnifm.playing import play_arm

Cohorts = dict[Any, Cohort]
Work = Callable[[Cell], None]


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
        self, design: Design, folder: ComparisonFolder, workers: int, progress: Progress, tolerant: bool = False
    ) -> None:
        self.design, self.folder, self.progress = design, folder, progress
        self.counter = get_context("fork").Value("q", 0)
        self.cohorts: Cohorts = {}
        self.metric = ""
        self.remarks: dict[str, str] = {}
        self.unfit: dict[str, str] = {}
        for arm in design.arms:
            self._check(arm, tolerant)
        experiments = [arm.experiment(0, design.seeds[0]) for arm in design.arms]
        self.workers = workers if all(experiment.device == "cpu" for experiment in experiments) else 0

    def _check(self, arm: ArmDesign, tolerant: bool) -> None:
        """Put every point of an arm together once: a mistake is told before anything has trained."""
        for seed in self.design.seeds:
            experiment = arm.experiment(0, seed)
            if _key(experiment) not in self.cohorts:
                self.cohorts[_key(experiment)] = load_cohort(experiment.data, experiment.partition, seed)
        try:
            for point in range(len(arm.points)):
                experiment = arm.experiment(point, self.design.seeds[0])
                made = make_arm(experiment, self.cohorts[_key(experiment)])
        except UnsuitableError as error:
            if not tolerant:
                raise UnsuitableError(f"In arm {arm.name!r}: {error}") from None
            self.unfit[arm.name] = str(error)
        else:
            self.metric = made.task.main_metric
            self.remarks[arm.name] = made.algorithm.remark(made.site.pipeline.network)

    def play(self) -> None:
        """Play all cells that the folder lacks, and write down what was found.

        A point whose loss becomes NaN or infinite cannot be chosen; that is a result, and no error.
        """
        if self.workers > 1:
            with Crew(self.workers, _inherit, self.folder, self.cohorts, self.counter) as crew:
                self._stages(crew)
        else:
            _inherit(self.folder, self.cohorts, self.counter)
            self._stages(None)

    def _stages(self, crew: Crew | None) -> None:
        tuning = [cell for cell in self.design.tuning() if cell.arm.name not in self.unfit]
        self._train("tuning", tuning, crew)
        choice = self.choice()
        for cell in tuning:
            if cell.point != choice.get(cell.arm.name):
                self.folder.forget_weights(cell)
        chosen = self.design.chosen(choice)
        self._train("playing", chosen, crew)
        waiting = [cell for cell in chosen if self._is_trained(cell) and not self.folder.cell(cell).result.exists()]
        self.progress.stage("testing", len(waiting))
        self._spread(_test, waiting, crew)
        self.folder.keep_record(self._found(choice, chosen))

    def _train(self, name: str, cells: Sequence[Cell], crew: Crew | None) -> None:
        waiting = [cell for cell in cells if self.folder.outcome(cell) is None]
        self.progress.stage(name, sum(cell.experiment.federation.rounds for cell in waiting))
        self._spread(_train, waiting, crew)

    def _spread(self, work: Work, cells: Sequence[Cell], crew: Crew | None) -> None:
        """Do the work on each cell, side by side where there is a crew."""
        self.counter.value = 0
        if crew is None:
            for cell in cells:
                work(cell)
                self.progress.advance_to(self.counter.value)
            return
        running = {crew.submit(work, cell) for cell in cells}
        try:
            while running:
                done, running = wait(running, timeout=0.5)
                for future in done:
                    future.result()
                self.progress.advance_to(self.counter.value)
        except BrokenProcessPool:
            raise OmniFMError(
                "A worker process died, perhaps for lack of memory. Resume with fewer: --workers 1."
            ) from None

    def choice(self) -> dict[str, int]:
        """Return the point of each arm that validation data prefer, the first among equals."""
        found = {}
        for arm in self.design.arms:
            if arm.name in self.unfit:
                continue
            if len(arm.points) == 1:
                found[arm.name] = 0
                continue
            scores = [self._tried(arm, point)[0] for point in range(len(arm.points))]
            if valid := [score for score in scores if score is not None]:
                found[arm.name] = scores.index(max(valid))
        return found

    def _tried(self, arm: ArmDesign, point: int) -> tuple[float | None, str | None]:
        """Return a point's mean validation score over the tuning seeds, or its failure."""
        if len(arm.points) == 1:
            return None, None
        outcomes = [self.folder.outcome(Cell(arm, point, seed)) for seed in self.design.tuning_seeds]
        failures = [outcome.failure for outcome in outcomes if outcome and outcome.failure]
        scores = [outcome.validation for outcome in outcomes if outcome and outcome.validation is not None]
        return (None, failures[0]) if failures else (sum(scores) / len(scores), None)

    def _is_trained(self, cell: Cell) -> bool:
        outcome = self.folder.outcome(cell)
        return outcome is not None and outcome.failure is None

    def _found(self, choice: dict[str, int], chosen: Sequence[Cell]) -> dict[str, Any]:
        """Return what the readers of the folder need to know."""
        own = self.design.arms[0].experiment(0, self.design.seeds[0]).federation.participation
        levels = [own if level is None else level for level in self.design.levels]
        return {
            "name": self.design.name,
            "main_metric": self.metric,
            "seeds": list(self.design.seeds),
            "levels": levels,
            "tuning": {"seeds": list(self.design.tuning_seeds), "points": len(self.design.arms[0].points)},
            "arms": [self._arm(arm, choice.get(arm.name), chosen, own) for arm in self.design.arms],
        }

    def _arm(self, arm: ArmDesign, point: int | None, chosen: Sequence[Cell], own: float) -> dict[str, Any]:
        points = []
        for number, settings in enumerate(arm.points):
            score, failure = (None, None) if arm.name in self.unfit else self._tried(arm, number)
            points.append({"settings": settings, "validation": score, "failure": failure})
        cells = []
        for cell in chosen:
            if cell.arm is arm:
                outcome = self.folder.outcome(cell)
                level = own if cell.level is None else cell.level
                failure = outcome.failure if outcome else None
                cells.append({"seed": cell.seed, "level": level, "folder": str(cell.folder), "failure": failure})
        failure = self.unfit.get(arm.name) or ("No point could be played to its end." if point is None else None)
        about = "; ".join(text for text in (arm.plan.about, self.remarks.get(arm.name, "")) if text)
        algorithm = arm.document["algorithm"]
        return {
            "name": arm.name,
            "algorithm": algorithm,
            "kind": arm.plan.kind,
            "about": about,
            "chosen": point,
            "failure": failure,
            "points": points,
            "cells": cells,
        }


class _Count(Callback):
    def snapshot(self, snapshot: Snapshot) -> None:
        _count()


_folder: ComparisonFolder  # in a worker: what it inherited
_cohorts: Cohorts
_counter: Any


def _inherit(folder: ComparisonFolder, cohorts: Cohorts, counter: Any) -> None:
    global _folder, _cohorts, _counter
    _folder, _cohorts, _counter = folder, cohorts, counter


def _count() -> None:
    with _counter.get_lock():
        _counter.value += 1


def _train(cell: Cell) -> None:
    try:
        last = _play(cell, test=False)
    except NonFiniteLossError as error:
        _folder.keep_outcome(cell, Outcome({}, str(error)))
    else:
        _folder.keep_outcome(cell, Outcome(last.best))


def _test(cell: Cell) -> None:
    _play(cell, test=True)
    _folder.forget_weights(cell)
    _count()


def _play(cell: Cell, test: bool) -> Snapshot:
    experiment, folder = cell.experiment, _folder.cell(cell)
    return play_arm(cell.arm.name, experiment, _cohorts[_key(experiment)], folder, 1, lambda *_: [_Count()], test)


def _key(experiment: Experiment) -> Any:
    return experiment.data, experiment.partition, experiment.seed
