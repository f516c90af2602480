"""The figures on a study's page, computed from the comparison's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from omnifm.results.findings import Findings
from omnifm.results.result_folder import ArmRecord, CellRecord, read_folder
from omnifm.results.summary import of_test, paired_differences

OWN, ALONE, ORACLE, POOLED = "omnifm", "local", "groups", "centralised"


class Estimate(NamedTuple):
    """A mean over seeds, and its standard error; NaN with one seed."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: pd.Series) -> Estimate:
        """Return the mean of one value per seed."""
        return cls(float(values.mean()), float(values.std() / len(values) ** 0.5))


class Agreement(NamedTuple):
    """Circles against declared groups in one cell: the share of pairs of clients on which both agree at the end."""

    pairs: float
    circles: int
    alone: int
    settled: int
    """The round from which on the circles are those of the end."""


@dataclass(frozen=True)
class Figures:
    """The figures of one comparison. Gains are positive where an arm is better, whatever the metric."""

    findings: Findings

    @classmethod
    def read(cls, folder: Path) -> Figures:
        """Read a comparison's folder."""
        return cls(Findings(read_folder(folder)))

    @property
    def point(self) -> str:
        """The evaluation point that ranks the rows."""
        return next(iter(self.findings.folder.points))

    @cached_property
    def tests(self) -> pd.DataFrame:
        """Test scores of the main metric by arm and seed, a column for each client."""
        rows = of_test(self.findings.main, self.findings.metric)
        rows = rows[rows["point"] == self.point]
        return rows.pivot(index=["arm", "seed"], columns="client", values="value")

    @property
    def names(self) -> list[str]:
        """The arms with test scores, ordered by kind."""
        tested = set(self.tests.index.get_level_values("arm"))
        return [arm.name for arm in self.findings.rows if arm.name in tested]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Mean, spread and worst client of each arm."""
        table = self.findings.scores
        return table[table.index.get_level_values("point") == self.point].droplevel("point")

    @cached_property
    def against_local(self) -> pd.DataFrame:
        """Each arm's paired difference from training alone, with its interval."""
        table = paired_differences(self.findings.main, self.findings.metric, ALONE, lower=self.findings.lower)
        return table[table.index.get_level_values("point") == self.point].droplevel("point")

    def gains(self, arm: str, base: str) -> pd.DataFrame:
        """Return the gain of an arm over another, seeds by clients."""
        return (self.tests.loc[arm] - self.tests.loc[base]) * (-1 if self.findings.lower else 1)

    def gain(self, arm: str, base: str) -> Estimate:
        """Return the gain in the mean over clients."""
        return Estimate.of(self.gains(arm, base).mean(axis=1))

    def gain_by_client(self, arm: str) -> dict[str, Estimate]:
        """Return each client's gain over training alone."""
        gains = self.gains(arm, ALONE)
        return {client: Estimate.of(gains[client]) for client in self.findings.folder.clients if client in gains}

    @cached_property
    def best_reference(self) -> str | None:
        """The reference algorithm with the best mean."""
        kinds = {arm.name: arm.kind for arm in self.findings.rows}
        means = self.scores["mean"].loc[[name for name in self.names if kinds[name] == "reference"]]
        return None if means.empty else str(means.idxmin() if self.findings.lower else means.idxmax())

    def agreements(self) -> Iterator[tuple[ArmRecord, float, list[Agreement]]]:
        """Yield each arm that has circles, a level of participation, and the agreement in each of its cells."""
        for arm in self.findings.rows:
            for level in dict.fromkeys(cell.level for cell in arm.cells):
                of_level = [cell for cell in arm.cells if cell.level == level and cell.result]
                of_level = [cell for cell in of_level if 'variant = "paper"' not in cell.settings]  # has no circles
                if cells := [agreement for cell in of_level if (agreement := _agreement(cell)) is not None]:
                    yield arm, level, cells


def _agreement(cell: CellRecord) -> Agreement | None:
    circles = [_circles(line) for line in cell.rounds]
    last = circles[-1] if circles else None
    if last is None:
        return None
    groups = {name: stats["group"] for name, stats in cell.result["clients"].items()}
    place = {name: number for number, names in enumerate(last) for name in names}
    pairs = list(combinations(groups, 2))
    agree = sum((groups[a] == groups[b]) == (a in place and place.get(b) == place[a]) for a, b in pairs)
    changed = [line["round"] for line, now in zip(cell.rounds, circles, strict=True) if now != last]
    return Agreement(
        agree / len(pairs) if pairs else 1.0, len(last), len(groups) - len(place), max(changed, default=0) + 1
    )


def _circles(line: Mapping[str, Any]) -> Sequence[Sequence[str]] | None:
    """Return the members of each circle after a round; None if there are none, or too many to list."""
    circles = (line.get("report") or {}).get("circles")
    return sorted(circles.values()) if isinstance(circles, dict) else None
