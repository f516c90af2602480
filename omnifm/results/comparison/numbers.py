"""The numbers of a comparison: what each arm reaches, costs and gains, as tables and report show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np

from omnifm.results.comparison.paired import Paired, compare, holm, mean_and_spread
from omnifm.results.comparison.reader import Cell, ComparedArm, Comparison, Matrix
from omnifm.results.numerals import places
from omnifm.results.run_reader import POINT_NAMES, finite, lower_is_better, mean
from omnifm.results.verdict import ALONE, POOLED

BASELINES = (ALONE, "alone")
"""Names of the arms in which every hospital is alone: with the bare backbone, and with OmniFM's own network."""

GROUPS = {
    "omnifm": "OmniFM",
    "own": "Own arms",
    "reference": "Reference algorithms",
    "control": "Controls",
    "ablation": "Ablation",
    "yardstick": "Yardsticks",
}
"""Kinds of the main table, in its order, as people read them."""

TOGETHER = ("omnifm", "own", "reference")
"""Kinds of arms in which hospitals learn together and that compete for the best; the others are there to explain."""

Pairs = dict[tuple[str, str], Paired]
"""Paired comparisons by arm and evaluation point."""


@dataclass(frozen=True)
class Score:
    """What an arm reaches at one evaluation point: means over seeds, and the standard deviations over seeds."""

    mean: float | None
    spread: float | None
    worst: float | None
    worst_spread: float | None
    seeds: int


@dataclass(frozen=True)
class Summary:
    """The numbers of a comparison, each computed once."""

    comparison: Comparison

    @cached_property
    def rows(self) -> list[ComparedArm]:
        """The arms of the main table, group by group; those without a result too."""
        arms = self.comparison.arms
        known = [arm for kind in GROUPS for arm in arms if arm.kind == kind]
        return [*(arm for arm in arms if arm.kind not in (*GROUPS, "sweep")), *known]

    @property
    def sweeps(self) -> list[ComparedArm]:
        """The arms that only vary a setting: shown by themselves and not judged."""
        return [arm for arm in self.comparison.arms if arm.kind == "sweep"]

    @cached_property
    def sampled(self) -> list[ComparedArm]:
        """The arms of the main table that were played at another level of participation too."""
        main = self.comparison.level
        return [a for a in self.rows if any(cell.level != main and cell.record.finished for cell in a.cells)]

    @cached_property
    def together(self) -> list[ComparedArm]:
        """The arms in which hospitals learn together and that compete for the best, as far as they were played."""
        return [arm for arm in self.comparison.played if arm.kind in TOGETHER]

    @cached_property
    def anchor(self) -> ComparedArm | None:
        """The arm that all are compared with: of OmniFM's, the best on validation data; or else the first together."""
        own = [arm for arm in self.together if arm.algorithm == "omnifm"]
        scores = [(arm, mean(_validated(cell) for cell in arm.at(self.comparison.level))) for arm in own]
        evaluated = [(arm, score) for arm, score in scores if score is not None]
        best = max(evaluated, key=lambda pair: pair[1])[0] if evaluated else None
        return best or next(iter([*own, *self.together]), None)

    @property
    def lower(self) -> bool:
        """Whether a smaller score is the better one."""
        return lower_is_better(
            self.comparison.metric, (cell.record for arm in self.comparison.arms for cell in arm.cells)
        )

    @cached_property
    def places(self) -> int:
        """With how many decimals scores are shown."""
        comparison = self.comparison
        means = [self.score(arm, point).mean for arm in comparison.arms for point in comparison.points]
        return places(means)

    @property
    def least(self) -> float:
        """Half of the least difference that can be shown."""
        return 0.5 * 10.0**-self.places

    def score(self, arm: ComparedArm, point: str, level: float | None = None) -> Score:
        """Return what an arm reaches: the mean over hospitals, and the worst hospital, of each seed."""
        scores = self.comparison.matrix(arm, point, level)
        rows = scores[~np.isnan(scores).all(axis=1)]
        worst = np.nanmax if self.lower else np.nanmin
        of_mean = mean_and_spread([float(np.nanmean(row)) for row in rows])
        return Score(*of_mean, *mean_and_spread([float(worst(row)) for row in rows]), len(rows))

    def by_hospital(self, arm: ComparedArm, point: str) -> list[float | None]:
        """Return the mean over seeds of each hospital."""
        return [mean_and_spread(column.tolist())[0] for column in self.comparison.matrix(arm, point).T]

    @cached_property
    def against_anchor(self) -> Pairs:
        """Every arm of the main table less the anchor."""
        return self._against(self.anchor, self.rows)

    @cached_property
    def gains(self) -> dict[str, Pairs]:
        """Every arm less the hospitals on their own, by yardstick; yardsticks that were not played are left out."""
        played = {arm.name: arm for arm in self.comparison.played if arm.kind == "yardstick"}
        bases = [played[name] for name in BASELINES if name in played]
        return {base.name: self._against(base, [*self.rows, *self.sweeps]) for base in bases}

    def differences(self, arm: ComparedArm, base: ComparedArm, point: str) -> Matrix:
        """Return an arm's scores less another's, seeds by hospitals."""
        return self.comparison.matrix(arm, point) - self.comparison.matrix(base, point)

    def _against(self, base: ComparedArm | None, arms: Sequence[ComparedArm]) -> Pairs:
        """Compare arms with one; p is corrected over all that competes in the main table, at all evaluation points."""
        if base is None:
            return {}
        others = [(arm, point) for arm in arms if arm is not base for point in self.comparison.points]
        pairs = {(arm.name, point): compare(self.differences(arm, base, point)) for arm, point in others}
        found = {key: pair for key, pair in pairs.items() if pair}
        tested = {
            (arm.name, r): pair.p
            for arm in self.rows
            for r in self.comparison.points
            if (pair := found.get((arm.name, r))) and pair.p is not None
        }
        for key, value in zip(tested, holm(list(tested.values())), strict=True):
            found[key] = replace(found[key], holm=value)
        return found

    def megabytes(self, arm: ComparedArm) -> float | None:
        """Return the megabytes of all rounds, both ways, per hospital; None where data are pooled and must travel."""
        if arm.algorithm == POOLED:
            return None
        totals = [sum(traffic(cell).values()) for cell in self._cells(arm)]
        return mean(total / max(len(self.comparison.clients), 1) for total in totals)

    def seconds(self, arm: ComparedArm) -> float | None:
        """Return the median seconds of a round, the mean over seeds."""
        return mean(median(values.values()) for cell in self._cells(arm) if (values := elapsed(cell)))

    def _cells(self, arm: ComparedArm) -> list[Cell]:
        return [cell for cell in arm.at(self.comparison.level) if cell.record.finished and cell.record.rounds]

    def note(self, arm: ComparedArm) -> str:
        """Return what must be known beside an arm's numbers: its remark, and what of it failed."""
        told = [arm.about] if arm.about else []
        if arm.failure:
            told.append(f"failed: {arm.failure}")
        told += [f"seed {cell.seed}{self._at(cell.level)} failed: {cell.failure}" for cell in arm.cells if cell.failure]
        told += [
            f"seed {cell.seed}{self._at(cell.level)} ended early, {cell.record.stopped}"
            for cell in arm.cells
            if cell.record.stopped
        ]
        done = {cell.seed for cell in arm.at(self.comparison.level) if cell.record.finished or cell.failure}
        if not (arm.failure or arm.about) or done:
            waiting = [str(seed) for seed in self.comparison.seeds if seed not in done]
            told += [f"seed {', '.join(waiting)} not played yet"] if waiting else []
        return "; ".join(text.rstrip(".") for text in told)

    def _at(self, level: float) -> str:
        return "" if level == self.comparison.level else f" at {percent(level)} participation"

    @cached_property
    def notes(self) -> dict[str, tuple[int, str]]:
        """Footnotes by arm: number and text; arms of which the same is to be said share one."""
        texts = {arm.name: text for arm in [*self.rows, *self.sweeps] if (text := self.note(arm))}
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts.values()), start=1)}
        return {name: (numbers[text], text) for name, text in texts.items()}

    @property
    def footnotes(self) -> list[tuple[int, str]]:
        """Every footnote once, in order."""
        return list(dict.fromkeys(self.notes.values()))


def traffic(cell: Cell) -> dict[int, float]:
    """Return the megabytes of each round, both ways and of all hospitals."""
    return {
        line["round"]: ((finite(line.get("bytes_down")) or 0.0) + (finite(line.get("bytes_up")) or 0.0)) / 1e6
        for line in cell.record.rounds
    }


def elapsed(cell: Cell) -> dict[int, float]:
    """Return the seconds of each round."""
    rounds = ((line["round"], finite(line.get("seconds"))) for line in cell.record.rounds)
    return {number: value for number, value in rounds if value is not None}


def kind_name(kind: str) -> str:
    """Return a kind of arms as people read it."""
    return "Sweeps" if kind == "sweep" else GROUPS.get(kind, kind)


def settings_text(settings: dict[str, Any]) -> str:
    """Return settings in one line, each by the last part of its name."""
    return ", ".join(f"{key.rpartition('.')[2]} {_value(value)}" for key, value in settings.items())


def percent(level: float) -> str:
    """Return a share in percent."""
    return f"{100 * level:g} %"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _validated(cell: Cell) -> float | None:
    """Return the best validation score, the mean of the points."""
    best = (cell.record.result or {}).get("best", {})
    return mean(finite(best[point][1]) for point in POINT_NAMES if best.get(point))
