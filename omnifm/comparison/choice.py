"""The choice of each arm's point by its validation scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from omnifm.comparison.comparison_folder import ComparisonFolder
from omnifm.comparison.design import ArmDesign, Cell, Design


@dataclass(frozen=True)
class Trial:
    """A point's mean validation score over the tuning seeds; None if there was nothing to tune, or it failed."""

    validation: float | None = None
    failure: str | None = None


def trials(design: Design, folder: ComparisonFolder, arm: ArmDesign) -> list[Trial]:
    """Return what became of an arm's points."""
    if len(arm.points) == 1:
        return [Trial()]
    found = []
    for point in range(len(arm.points)):
        outcomes = [folder.outcome(Cell(arm, point, seed)) for seed in design.tuning_seeds]
        failure = next((outcome.failure for outcome in outcomes if outcome and outcome.failure), None)
        scores = [outcome.validation for outcome in outcomes if outcome and outcome.validation is not None]
        found.append(Trial(failure=failure) if failure else Trial(sum(scores) / len(scores)))
    return found


def choose(design: Design, folder: ComparisonFolder, arms: Iterable[ArmDesign]) -> dict[str, int]:
    """Return each arm's best point, the first among equals; an arm all of whose points failed has none."""
    choice = {}
    for arm in arms:
        tried = trials(design, folder, arm)
        if len(tried) == 1:
            choice[arm.name] = 0
        elif scores := [trial.validation for trial in tried if trial.validation is not None]:
            choice[arm.name] = [trial.validation for trial in tried].index(max(scores))
    return choice
