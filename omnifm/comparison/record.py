"""``comparison.json``: what those who read a comparison's folder need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omnifm.comparison.choice import trials
from omnifm.comparison.comparison_folder import ComparisonFolder
from omnifm.comparison.design import ArmDesign, Design


@dataclass
class Checked:
    """What putting the arms together has shown: the metric, remarks by arm, and why an arm cannot serve."""

    metric: str = ""
    remarks: dict[str, str] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)


def make_record(
    design: Design, folder: ComparisonFolder, checked: Checked, choice: Mapping[str, int]
) -> dict[str, Any]:
    """Return the record of a finished comparison."""
    own = design.arms[0].experiment(0, design.seeds[0]).federation.participation
    return {
        "name": design.name,
        "main_metric": checked.metric,
        "seeds": list(design.seeds),
        "levels": [own if level is None else level for level in design.levels],
        "tuning": {"seeds": list(design.tuning_seeds), "points": len(design.arms[0].points)},
        "arms": [_arm(design, folder, arm, checked, choice, own) for arm in design.arms],
    }


def _arm(
    design: Design, folder: ComparisonFolder, arm: ArmDesign, checked: Checked, choice: Mapping[str, int], own: float
) -> dict[str, Any]:
    tried = [] if arm.name in checked.unfit else trials(design, folder, arm)
    cells = []
    for cell in design.chosen({arm.name: choice[arm.name]}) if arm.name in choice else ():
        outcome = folder.outcome(cell)
        level, failure = own if cell.level is None else cell.level, outcome.failure if outcome else None
        cells.append({"seed": cell.seed, "level": level, "folder": str(cell.folder), "failure": failure})
    failed = None if arm.name in choice or not tried else tried[0].failure
    return {
        "name": arm.name,
        "algorithm": arm.document["algorithm"],
        "kind": arm.plan.kind,
        "about": "; ".join(text for text in (arm.plan.about, checked.remarks.get(arm.name, "")) if text),
        "chosen": choice.get(arm.name),
        "failure": checked.unfit.get(arm.name, failed),
        "points": [
            {"settings": settings, "validation": trial.validation, "failure": trial.failure}
            for settings, trial in zip(arm.points, tried, strict=False)
        ],
        "cells": cells,
    }
