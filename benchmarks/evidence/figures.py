"""What a study's page tells, each figure computed from the comparison's folder."""

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
        """Return the mean of one value a seed."""
        return cls(float(values.mean()), float(values.std() / len(values) ** 0.5))


class Agreement(NamedTuple):
    """Circles beside declared groups in one cell: the share of pairs of clients on which both agree at the end."""

    pairs: float
    circles: int
    alone: int
    settled: int
    """From this round on, the circles are those of the end."""


@dataclass(frozen=True)
class Figures:
    """The figures of one comparison. Gains are positive where an arm is better, whatever the metric."""

    found: Findings

    @classmethod
    def read(cls, folder: Path) -> Figures:
        """Read a comparison's folder."""
        return cls(Findings(read_folder(folder)))

    @property
    def point(self) -> str:
        """The evaluation point that ranks the rows."""
        return next(iter(self.found.folder.points))

    @cached_property
    def tests(self) -> pd.DataFrame:
        """Test scores of the main metric by arm and seed, a column for each client."""
        rows = of_test(self.found.main, self.found.metric)
        rows = rows[rows["point"] == self.point]
        return rows.pivot(index=["arm", "seed"], columns="client", values="value")

    @property
    def names(self) -> list[str]:
        """The arms with test scores, kind by kind."""
        there = set(self.tests.index.get_level_values("arm"))
        return [arm.name for arm in self.found.rows if arm.name in there]

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Mean, spread and worst client of each arm."""
        table = self.found.scores
        return table[table.index.get_level_values("point") == self.point].droplevel("point")

    @cached_property
    def against_local(self) -> pd.DataFrame:
        """Each arm's paired difference from hospitals alone, with its interval."""
        table = paired_differences(self.found.main, self.found.metric, ALONE, lower=self.found.lower)
        return table[table.index.get_level_values("point") == self.point].droplevel("point")

    def gains(self, arm: str, base: str) -> pd.DataFrame:
        """Return how far an arm is ahead of another, seeds by clients."""
        return (self.tests.loc[arm] - self.tests.loc[base]) * (-1 if self.found.lower else 1)

    def gain(self, arm: str, base: str) -> Estimate:
        """Return the gain in the mean over clients."""
        return Estimate.of(self.gains(arm, base).mean(axis=1))

    def gain_by_client(self, arm: str) -> dict[str, Estimate]:
        """Return each client's gain over training alone."""
        gains = self.gains(arm, ALONE)
        return {client: Estimate.of(gains[client]) for client in self.found.folder.clients if client in gains}

    @cached_property
    def best_reference(self) -> str | None:
        """The reference algorithm that is best in the mean."""
        kinds = {arm.name: arm.kind for arm in self.found.rows}
        means = self.scores["mean"].loc[[name for name in self.names if kinds[name] == "reference"]]
        return None if means.empty else str(means.idxmin() if self.found.lower else means.idxmax())

    def agreements(self) -> Iterator[tuple[ArmRecord, float, list[Agreement]]]:
        """Yield each arm that has circles, a level of participation, and the agreement in each of its cells."""
        for arm in self.found.rows:
            for level in dict.fromkeys(cell.level for cell in arm.cells):
                of_level = [cell for cell in arm.cells if cell.level == level and cell.result]
                of_level = [cell for cell in of_level if 'variant = "paper"' not in cell.settings]  # has no circles
                if cells := [found for cell in of_level if (found := _agreement(cell)) is not None]:
                    yield arm, level, cells


def _agreement(cell: CellRecord) -> Agreement | None:
    circles = [_circles(line) for line in cell.rounds]
    last = circles[-1] if circles else None
    if last is None:
        return None
    groups = {name: held["group"] for name, held in cell.result["clients"].items()}
    place = {name: number for number, names in enumerate(last) for name in names}
    pairs = list(combinations(groups, 2))
    agree = sum((groups[a] == groups[b]) == (a in place and place.get(b) == place[a]) for a, b in pairs)
    changed = [line["round"] for line, seen in zip(cell.rounds, circles, strict=True) if seen != last]
    return Agreement(
        agree / len(pairs) if pairs else 1.0, len(last), len(groups) - len(place), max(changed, default=0) + 1
    )


def _circles(line: Mapping[str, Any]) -> Sequence[Sequence[str]] | None:
    """Return the members of each circle after a round; None where there are none, or too many to be named."""
    found = (line.get("report") or {}).get("circles")
    return sorted(found.values()) if isinstance(found, dict) else None
