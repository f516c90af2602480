"""Reading a comparison's folder back: its arms, what tuning tried, and the cells that were played.

The tables and the report all read through here, so they cannot disagree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from omnifm.results.run_reader import ArmRecord, finite, points_of, read_arm, read_versions
from omnifm.utils.errors import ExperimentError

Matrix = npt.NDArray[np.float64]
"""Scores, seeds by hospitals; NaN where there is none."""


@dataclass(frozen=True)
class Point:
    """One configuration that tuning tried. ``validation`` is None where it failed."""

    settings: dict[str, Any]
    validation: float | None
    failure: str | None


@dataclass(frozen=True)
class Cell:
    """One arm, played with one seed at one level of participation."""

    seed: int
    level: float
    failure: str | None
    record: ArmRecord


@dataclass(frozen=True)
class ComparedArm:
    """One algorithm of a comparison. ``chosen`` counts in ``points``."""

    name: str
    algorithm: str
    kind: str
    about: str
    chosen: int | None
    failure: str | None
    points: list[Point]
    cells: list[Cell]

    def at(self, level: float) -> list[Cell]:
        """Return the cells of one level of participation, in the order of the folder."""
        return [cell for cell in self.cells if cell.level == level]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that tuning chose."""
        return {} if self.chosen is None else self.points[self.chosen].settings


@dataclass(frozen=True)
class Comparison:
    """A comparison's folder, read.

    ``levels[0]`` is the experiment's own participation; ``asked`` is what the command line asked for, if noted.
    """

    folder: Path
    name: str
    metric: str
    seeds: list[int]
    levels: list[float]
    tuning_seeds: list[int]
    arms: list[ComparedArm]
    asked: dict[str, Any]
    experiment: str
    versions: dict[str, str]
    date: datetime

    @property
    def level(self) -> float:
        """The participation of the main table."""
        return self.levels[0]

    @cached_property
    def played(self) -> list[ComparedArm]:
        """The arms with a test result at the main level."""
        return [arm for arm in self.arms if any(cell.record.finished for cell in arm.at(self.level))]

    @cached_property
    def points(self) -> dict[str, str]:
        """The evaluation points at which the cells were tested, each with its name."""
        return points_of(cell.record for arm in self.arms for cell in arm.cells)

    @property
    def point(self) -> str:
        """The evaluation point that judges: as received, unless the cells were tested in the other one only."""
        return next(iter(self.points))

    @cached_property
    def clients(self) -> dict[str, dict[str, Any]]:
        """The hospitals and what each holds, in the order of the first finished cell."""
        found: dict[str, dict[str, Any]] = {}
        for result in self._results():
            for client, holds in result.get("clients", {}).items():
                found.setdefault(client, holds)
        return found

    def matrix(self, arm: ComparedArm, point: str, level: float | None = None, metric: str | None = None) -> Matrix:
        """Return an arm's test scores, seeds by hospitals; the main metric at the main level unless told otherwise."""
        scores = np.full((len(self.seeds), len(self.clients)), np.nan)
        for cell in arm.at(self.level if level is None else level):
            if cell.seed in self.seeds:
                found = cell.record.scores(point, metric or self.metric)
                scores[self.seeds.index(cell.seed)] = [found.get(client, np.nan) for client in self.clients]
        return scores

    def _results(self) -> Iterable[dict[str, Any]]:
        return (cell.record.result for arm in self.arms for cell in arm.cells if cell.record.result)


def read_comparison(out: Path) -> Comparison:
    """Read a comparison's folder.

    Raises:
        ExperimentError: the folder holds no comparison, or its files are damaged.
    """
    path, experiment = out / "comparison.json", out / "experiment.toml"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        text = experiment.read_text(encoding="utf-8")
        versions, date = read_versions(out / "versions.json", experiment)
        return Comparison(
            out,
            str(document.get("name", out.name)),
            str(document["main_metric"]),
            [int(seed) for seed in document["seeds"]],
            [float(level) for level in document["levels"]],
            [int(seed) for seed in document.get("tuning", {}).get("seeds", [])],
            [_read_arm(out, arm) for arm in document["arms"]],
            dict(document.get("asked", {})),
            text,
            versions,
            date,
        )
    except FileNotFoundError as error:
        raise ExperimentError(f"{out} holds no comparison: there is no {error.filename}.") from None
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise ExperimentError(f"The comparison in {out} cannot be read: {error!r}.") from None


def _read_arm(out: Path, arm: dict[str, Any]) -> ComparedArm:
    name, algorithm = str(arm["name"]), str(arm.get("algorithm", arm["name"]))
    points = [
        Point(dict(point["settings"]), finite(point.get("validation")), point.get("failure"))
        for point in arm.get("points", [])
    ]
    chosen = arm.get("chosen")
    cells = [
        Cell(
            int(cell["seed"]),
            float(cell["level"]),
            cell.get("failure"),
            read_arm(name, out / cell["folder"], algorithm),
        )
        for cell in arm.get("cells", [])
    ]
    return ComparedArm(
        name,
        algorithm,
        str(arm.get("kind", "own")),
        str(arm.get("about") or ""),
        chosen if chosen is None else range(len(points))[chosen],
        arm.get("failure"),
        points,
        cells,
    )
