"""A folder's records together with its numbers, each computed once: what tables, charts and report are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from omnifm.results import summary
from omnifm.results.circle_history import CircleHistory, circle_history, nobody_together
from omnifm.results.formatting import decimal_places, percent
from omnifm.results.frame import to_frame
from omnifm.results.result_folder import ArmRecord, ResultFolder, finite, mean, read_folder

ARM_KINDS = {
    "omnifm": "OmniFM",
    "own": "Own arms",
    "reference": "Reference algorithms",
    "control": "Controls",
    "ablation": "Ablation",
    "baseline": "Baselines",
    "sweep": "Sweeps",
}
"""Kinds of arms, in the order of the tables."""

FEDERATED = ("omnifm", "own", "reference")
"""Kinds of arms in which clients learn together and which compete for the best; the others are there to explain."""

SHORT = {"before_local_training": "before", "after_local_training": "after"}
"""Column heads of the evaluation points."""


@dataclass(frozen=True)
class Findings:
    """What was found in a folder."""

    folder: ResultFolder

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Everything that was measured."""
        return to_frame(self.folder)

    @cached_property
    def main(self) -> pd.DataFrame:
        """What was measured at the level of the main tables."""
        return self.frame[self.frame["level"] == self.folder.levels[0]] if self.folder.is_comparison else self.frame

    @property
    def metric(self) -> str:
        """The main metric; of an unfinished run, the first that validation has."""
        known = self.frame.loc[self.frame["split"] == "validation", "metric"]
        return self.folder.metric or next(iter(known), "score")

    @cached_property
    def arms(self) -> list[ArmRecord]:
        """All arms; those of a comparison kind by kind."""
        if not self.folder.is_comparison:
            return self.folder.arms
        kinds = dict.fromkeys([*(arm.kind for arm in self.folder.arms if arm.kind not in ARM_KINDS), *ARM_KINDS])
        return [arm for kind in kinds for arm in self.folder.arms if arm.kind == kind]

    @property
    def rows(self) -> list[ArmRecord]:
        """The arms of the main table; of a run, those that are finished."""
        shown = self.arms if self.folder.is_comparison else self.folder.finished
        return [arm for arm in shown if arm.kind != "sweep"]

    @property
    def sweeps(self) -> list[ArmRecord]:
        """The arms that vary one setting: shown by themselves, not ranked and not tested."""
        return [arm for arm in self.arms if arm.kind == "sweep"]

    @cached_property
    def federated(self) -> list[ArmRecord]:
        """The arms with results that compete for the best."""
        return [arm for arm in self.folder.finished if arm.kind in FEDERATED]

    @cached_property
    def baselines(self) -> list[str]:
        """The arms in which every client trains alone."""
        return [a.name for a in self.folder.finished if a.kind == "baseline" and a.algorithm == "local"]

    @cached_property
    def anchor(self) -> str | None:
        """The arm that all are compared with: of OmniFM's, the best on validation data, or else the first federated."""
        own = [arm for arm in self.federated if arm.algorithm == "omnifm"]
        best = max(own, key=self._validated, default=None) or next(iter(self.federated), None)
        return best.name if best else None

    def _validated(self, arm: ArmRecord) -> float:
        best = [cell.result.get("best", {}) for cell in self.folder.main_cells(arm)]
        scores = mean(finite(chosen[point][1]) for chosen in best for point in self.folder.points if chosen.get(point))
        return float("-inf") if scores is None else scores

    @cached_property
    def lower(self) -> bool:
        """Whether a smaller value of the main metric is the better one."""
        return self.folder.lower_is_better(self.metric)

    @cached_property
    def levels(self) -> pd.DataFrame:
        """The summary of the main metric by arm, level and evaluation point."""
        return summary.summary(self.frame, self.metric, lower=self.lower)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The summary of the main tables, by arm and evaluation point."""
        return summary.summary(self.main, self.metric, lower=self.lower).droplevel("level")

    @cached_property
    def decimals(self) -> int:
        """With how many decimals scores of the main metric are shown."""
        return decimal_places(self.scores["mean"])

    @cached_property
    def costs(self) -> pd.DataFrame:
        """What each arm cost."""
        return summary.costs(self.main).droplevel("level")

    @cached_property
    def circles(self) -> list[CircleHistory]:
        """The circles of the arms of a run that have any."""
        return [history for arm in self._arms_of_run if (history := circle_history(arm))]

    @cached_property
    def circle_sentences(self) -> dict[str, str]:
        """Who learned with whom, by arm; of a run only."""
        found = {history.arm: history.sentence for history in self.circles}
        every = {arm.name: found.get(arm.name) or nobody_together(arm) for arm in self._arms_of_run}
        return {name: sentence for name, sentence in every.items() if sentence}

    @property
    def _arms_of_run(self) -> Sequence[ArmRecord]:
        return [] if self.folder.is_comparison else self.folder.arms

    @cached_property
    def comparisons(self) -> dict[str, pd.DataFrame]:
        """Differences of all arms from each baseline and from the anchor."""
        bases = dict.fromkeys([*self.baselines, *([self.anchor] if self.anchor else [])])
        tables = {base: summary.paired_differences(self.main, self.metric, base, lower=self.lower) for base in bases}
        return {base: table for base, table in tables.items() if len(table)}

    def note(self, arm: ArmRecord) -> str:
        """Return the remark of an arm, and its failures and missing results."""
        notes = [arm.about, f"failed: {arm.failure}" if arm.failure else ""]
        for cell in arm.cells:
            main = cell.level == self.folder.levels[0] or not self.folder.is_comparison
            which = f"seed {cell.seed}" + ("" if main else f" at {percent(cell.level)} participation")
            notes.append(f"{which} failed: {cell.failure}" if cell.failure else "")
            notes.append(f"{which} ended early, {cell.stopped}" if cell.stopped else "")
        done = {cell.seed for cell in self.folder.main_cells(arm) if cell.result or cell.failure}
        waiting = [str(seed) for seed in self.folder.seeds if seed not in done]
        if waiting and self.folder.is_comparison and not arm.failure:
            notes.append(f"seed {', '.join(waiting)} not run yet")
        return "; ".join(text.rstrip(".") for text in notes if text)

    @cached_property
    def notes(self) -> dict[str, str]:
        """Footnotes by arm, such as ``(1) it failed``; arms with the same note share one."""
        texts = {arm.name: text for arm in self.arms if (text := self.note(arm))}
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts.values()), start=1)}
        return {name: f"({numbers[text]}) {text}" for name, text in texts.items()}


def read_findings(folder: Path) -> Findings:
    """Read the folder of a run or of a comparison.

    Raises:
        ExperimentError: it holds neither, or one of its files is damaged.
    """
    return Findings(read_folder(folder))
