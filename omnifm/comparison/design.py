"""The design of a comparison: every arm with its points, and all cells that follow from it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field

from omnifm.algorithms.registry import ALGORITHM_SETTINGS
from omnifm.comparison.arms import ArmPlan, nested
from omnifm.config.checking import checked
from omnifm.config.experiment import Experiment, base_of, determining, make_experiment
from omnifm.config.overrides import merged
from omnifm.config.toml import Document
from omnifm.utils.errors import ExperimentError
from omnifm.utils.settings import Count, settings

Point = dict[str, Any]
"""One configuration: values by dotted key."""


@settings
class CompareSettings:
    """``[compare]`` of an experiment.

    Attributes:
        grid: lists of values by key; every combination is a point, tried on the tuning seeds and judged by validation
            data.
        grids: ``grids.NAME`` is the grid of one algorithm (or arm) in its place; all grids must have equally many
            points.
        tuning_seeds: on how many of the seeds each point is tried.
        participation: further levels of participation at which the chosen points are run.
    """

    grid: dict[str, Any] = field(default_factory=dict)
    grids: dict[str, dict[str, Any]] = field(default_factory=dict)
    tuning_seeds: Count = 1
    participation: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()


@dataclass(frozen=True)
class ArmDesign:
    """One arm: its document, and the points that are tried."""

    plan: ArmPlan
    document: Document
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.plan.name

    def experiment(self, point: int, seed: int, level: float | None = None) -> Experiment:
        """Return the experiment of one cell; ``level`` is its participation, if not the arm's own."""
        changes = {**self.points[point], "seed": seed}
        if level is not None:
            changes["federation.participation"] = level
        document = self.document
        for key, value in changes.items():
            document = merged(document, nested(key, value))
        return make_experiment(document)


@dataclass(frozen=True)
class Cell:
    """One arm, run once. ``level`` None is the experiment's own participation."""

    arm: ArmDesign
    point: int
    seed: int
    level: float | None = None

    @property
    def experiment(self) -> Experiment:
        """The experiment that is run."""
        return self.arm.experiment(self.point, self.seed, self.level)

    @property
    def folder(self) -> Path:
        """Its path below the comparison's folder."""
        percent = 100 * self.experiment.federation.participation
        return Path("cells", quote(self.arm.name, safe=" =,-_"), f"p{self.point}-s{self.seed}-r{percent:g}")


@dataclass(frozen=True, kw_only=True)
class Design:
    """All that a comparison depends on."""

    document: Document
    name: str
    arms: tuple[ArmDesign, ...]
    seeds: tuple[int, ...]
    settings: CompareSettings

    @property
    def levels(self) -> tuple[float | None, ...]:
        """The levels of participation, the experiment's own first."""
        own = self.arms[0].experiment(0, self.seeds[0]).federation.participation
        return (None, *(level for level in self.settings.participation if level != own))

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """The seeds used in tuning."""
        return self.seeds[: self.settings.tuning_seeds]

    def tuning(self) -> list[Cell]:
        """Return the cells that choose among points."""
        return [
            Cell(arm, point, seed)
            for arm in self.arms
            if len(arm.points) > 1
            for point in range(len(arm.points))
            for seed in self.tuning_seeds
        ]

    def chosen(self, choice: Mapping[str, int]) -> list[Cell]:
        """Return the cells to be tested, given each arm's point; none twice, if its own level is a further one too."""
        cells = [
            Cell(arm, choice[arm.name], seed, level)
            for level in self.levels
            for arm in self.arms
            if arm.name in choice
            for seed in self.seeds
        ]
        return list({cell.folder: cell for cell in reversed(cells)}.values())[::-1]

    def resolved(self) -> Document:
        """Return the design in full, to compare it with another."""
        arms = {arm.name: {"points": list(arm.points), **determining(arm.experiment(0, 0))} for arm in self.arms}
        tuned = {"tuning_seeds": list(self.tuning_seeds)} if self.tuning() else {}
        return {"seeds": list(self.seeds), "levels": list(self.levels), "arms": arms, **tuned}


def make_design(document: Document, arms: Sequence[ArmPlan], seeds: int) -> Design:
    """Make a design and check every experiment in it.

    Raises:
        ExperimentError: a key or value is not valid, a grid is empty, or the grids are not of one size.
    """
    settings: CompareSettings = checked(CompareSettings, document.get("compare", {}), ("compare",))
    base = base_of(document)
    designs = tuple(_design(arm, base, settings) for arm in arms)
    for design in designs:
        if "seed" in design.plan.changes or any("seed" in point for point in design.points):
            raise ExperimentError(f"In arm {design.name!r}: 'seed' cannot vary, --seeds says how many there are.")
    _check_budget(designs)
    first = int(base.get("seed", 0))
    for design in designs:
        for point in range(len(design.points)):
            try:
                design.experiment(point, first)
            except ExperimentError as error:
                raise ExperimentError(f"In arm {design.name!r}: {error}") from None
    known = {name for design in designs for name in (design.name, design.document["algorithm"])}
    if strays := [name for name in settings.grids if name not in known and name not in ALGORITHM_SETTINGS]:
        raise ExperimentError(f"compare.grids.{strays[0]}: there is no algorithm or arm of this name.")
    return Design(
        document=document,
        name=str(document["name"]),
        arms=designs,
        seeds=tuple(range(first, first + seeds)),
        settings=settings,
    )


def _design(arm: ArmPlan, base: Document, settings: CompareSettings) -> ArmDesign:
    document = merged(base, arm.changes)
    algorithm = document.setdefault("algorithm", "omnifm")
    for name in (arm.name, algorithm):
        if name in settings.grids:
            return ArmDesign(arm, document, _points(settings.grids[name], f"compare.grids.{name}"))
    shared = _points(settings.grid, "compare.grid")
    for key in shared[0]:
        if (section := key.split(".")[0]) in ALGORITHM_SETTINGS:
            raise ExperimentError(
                f"compare.grid.{key} is a parameter of {section} and would tune no other algorithm: put it under "
                f"[compare.grids.{section}]."
            )
    return ArmDesign(arm, document, shared)


def _points(grid: Mapping[str, Any], place: str) -> tuple[Point, ...]:
    axes = dict(_flat(grid))
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise ExperimentError(f"{place}.{key} is an empty grid: give a list with at least one value.")
    if not axes and place != "compare.grid":
        raise ExperimentError(f"{place} is an empty grid: give a list of values for at least one key.")
    return tuple(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in table.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found


def _check_budget(arms: Sequence[ArmDesign]) -> None:
    sizes = {len(arm.points): arm.name for arm in arms}
    if len(sizes) > 1:
        differing = " and ".join(f"{size} for {name!r}" for size, name in sorted(sizes.items()))
        raise ExperimentError(
            f"The tuning budgets differ: {differing}. A fair comparison tries equally many points of each: make the "
            f"grids under [compare] equally large."
        )
