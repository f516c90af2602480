"""Reading the folder of a run or of a comparison: its arms, finished or not, and everything they wrote.

A run is read as a comparison with one cell per arm, so that tables and report are the same for both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from omnifm.callbacks.metrics_log import MetricsLog
from omnifm.config.toml import parse
from omnifm.utils.errors import ExperimentError
from omnifm.utils.words import joined

POINTS = {"before_local_training": "before local training", "after_local_training": "after local training"}
"""The evaluation points, in order; the first one with results is the one that ranks arms."""

_RUN_KINDS = {**dict.fromkeys(("local", "grouped", "centralised"), "baseline"), "omnifm": "omnifm"}


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """One arm with one seed at one level of participation. ``result`` is empty until the test results are there."""

    folder: Path
    seed: int
    level: float
    failure: str | None = None
    settings: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def rounds(self) -> list[dict[str, Any]]:
        """The log's lines of rounds in order; of a round that was run again, the last."""
        lines = {line["round"]: line for line in self.log if line.get("event") == "round"}
        return [lines[number] for number in sorted(lines)]

    @property
    def stopped(self) -> str:
        """When and why the rounds ended early; empty if they did not."""
        return f"after round {self.result['rounds']}, as {self.result['stopped']}" if self.result.get("stopped") else ""


@dataclass(frozen=True, kw_only=True)
class ArmRecord:
    """One row of the tables. ``points`` are the configurations that tuning tried; ``chosen`` is the index of one."""

    name: str
    algorithm: str
    kind: str
    cells: list[CellRecord]
    about: str = ""
    failure: str | None = None
    points: list[dict[str, Any]] = field(default_factory=list)
    chosen: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that tuning chose."""
        return {} if self.chosen is None else dict(self.points[self.chosen]["settings"])


@dataclass(frozen=True, kw_only=True)
class ResultFolder:
    """A folder, read. ``levels[0]`` is the participation of the main tables; ``asked`` are the command's options."""

    folder: Path
    is_comparison: bool
    name: str
    experiment: str
    versions: dict[str, str]
    date: datetime
    arms: list[ArmRecord]
    metric: str | None
    seeds: list[int]
    levels: list[float]
    tuning_seeds: list[int] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def results(self) -> list[dict[str, Any]]:
        """The contents of every ``result.json``."""
        return [cell.result for arm in self.arms for cell in arm.cells if cell.result]

    @cached_property
    def finished(self) -> list[ArmRecord]:
        """The arms with test results in the main tables."""
        return [arm for arm in self.arms if any(cell.result for cell in self.main_cells(arm))]

    def main_cells(self, arm: ArmRecord) -> list[CellRecord]:
        """Return the cells of the main tables: those at the experiment's own participation."""
        return [cell for cell in arm.cells if cell.level == self.levels[0] or not self.is_comparison]

    @cached_property
    def points(self) -> dict[str, str]:
        """The evaluation points with results, each with its name; all of them while there are no results."""
        tested = {point for result in self.results for point in result["test"]}
        return {point: name for point, name in POINTS.items() if point in tested} or POINTS

    @cached_property
    def clients(self) -> dict[str, dict[str, Any]]:
        """The clients and what each holds, in the order of the first result."""
        found: dict[str, dict[str, Any]] = {}
        for result in self.results:
            found |= {name: holds for name, holds in result["clients"].items() if name not in found}
        return found

    def lower_is_better(self, metric: str) -> bool:
        """Whether a smaller value of this metric is the better one."""
        return metric == "loss" or any(metric in result.get("lower_is_better", ()) for result in self.results)


def is_comparison(folder: Path) -> bool:
    """Return whether a folder holds a comparison."""
    return (folder / "comparison.json").exists()


def refuse_comparison(folder: Path, remedy: str) -> None:
    """Raise an ExperimentError that ends with ``remedy`` if a folder holds a comparison in place of a run."""
    if is_comparison(folder):
        raise ExperimentError(f"{folder} holds a comparison{remedy}.")


def runs_near(folder: Path) -> str:
    """Return a sentence that says which runs are in a folder that is none itself, or how one is named."""
    names = sorted(path.parent.name for path in folder.glob("*/versions.json"))
    return f"Give a run in it: {joined(names, 5)}." if names else "Give the folder of a run, such as runs/NAME."


def read_folder(folder: Path) -> ResultFolder:
    """Read the folder of a run or of a comparison.

    Raises:
        ExperimentError: it holds neither, or one of its files is damaged.
    """
    kind = "comparison" if is_comparison(folder) else "run"
    try:
        text = (folder / "experiment.toml").read_text(encoding="utf-8")
        document = parse(text)
        common: dict[str, Any] = {"folder": folder, "is_comparison": kind == "comparison", "experiment": text}
        common["versions"], common["date"] = _read_versions(folder)
        if kind == "comparison":
            return _read_comparison(folder, common)
        return _read_run(folder, document, common)
    except FileNotFoundError as error:
        raise ExperimentError(f"{folder} holds no {kind}: there is no {error.filename}. {runs_near(folder)}") from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ExperimentError(f"The {kind} in {folder} cannot be read: {error!r}.") from None


def _read_run(folder: Path, document: dict[str, Any], common: dict[str, Any]) -> ResultFolder:
    """Arms come in the order of the experiment file; arms that only have a folder follow by name."""
    planned = {name: changes.get("algorithm") for name, changes in (document.get("arms") or {}).items()}
    default = document.get("algorithm")
    if not planned and default:
        planned = {default: default}
    found = sorted({path.parent.name for file in ("metrics.jsonl", "result.json") for path in folder.glob(f"*/{file}")})
    arms = []
    for name in dict.fromkeys([*planned, *found]):
        cell = _read_cell(folder / name)
        algorithm = str(cell.result.get("algorithm") or planned.get(name) or default or name)
        arms.append(ArmRecord(name=name, algorithm=algorithm, kind=_RUN_KINDS.get(algorithm, "own"), cells=[cell]))
    cells = [cell for arm in arms for cell in arm.cells]
    metric = next((cell.result["main_metric"] for cell in cells if cell.result), None)
    seeds = sorted({cell.seed for cell in cells if cell.result})
    levels = list(dict.fromkeys(cell.level for cell in cells))
    name = str(document.get("name", folder.name))
    return ResultFolder(name=name, arms=arms, metric=metric, seeds=seeds, levels=levels, **common)


def _read_comparison(folder: Path, common: dict[str, Any]) -> ResultFolder:
    document = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    if "arms" not in document and "asked" in document:
        return _read_begun_comparison(folder, document, common)
    return ResultFolder(
        name=str(document.get("name", folder.name)),
        arms=[_read_arm(folder, arm) for arm in document["arms"]],
        metric=str(document["main_metric"]),
        seeds=[int(seed) for seed in document["seeds"]],
        levels=[float(level) for level in document["levels"]],
        tuning_seeds=[int(seed) for seed in document.get("tuning", {}).get("seeds", [])],
        asked=dict(document.get("asked", {})),
        **common,
    )


def _read_begun_comparison(folder: Path, document: dict[str, Any], common: dict[str, Any]) -> ResultFolder:
    """Read a comparison whose record has not been written yet: the cells that are there.

    Until an arm has a tested cell nobody knows which point it chose: each of several points is then an arm.
    """
    found: dict[str, dict[str, list[CellRecord]]] = {}
    for path in sorted(folder.glob("cells/*/p*-s*-r*/experiment.toml")):
        points = found.setdefault(unquote(path.parent.parent.name), {})
        points.setdefault(path.parent.name.partition("-")[0], []).append(_read_cell(path.parent))
    arms = []
    for name, points in found.items():
        chosen = {point: cells for point, cells in points.items() if any(cell.result for cell in cells)} or points
        for point, cells in chosen.items():
            algorithm = str(parse(cells[0].settings).get("algorithm", name))
            label = name if len(chosen) == 1 else f"{name} ({point})"
            kind = _RUN_KINDS.get(algorithm, "own")
            arms.append(ArmRecord(name=label, algorithm=algorithm, kind=kind, cells=cells))
    cells, experiment = [cell for arm in arms for cell in arm.cells], parse(common["experiment"])
    own = float(experiment.get("federation", {}).get("participation", 1.0))
    return ResultFolder(
        name=str(experiment.get("name", folder.name)),
        arms=arms,
        metric=next((cell.result["main_metric"] for cell in cells if cell.result), None),
        seeds=sorted({cell.seed for cell in cells}),
        levels=list(dict.fromkeys([own, *(cell.level for cell in cells)])),
        asked=dict(document.get("asked", {})),
        **common,
    )


def _read_arm(folder: Path, arm: dict[str, Any]) -> ArmRecord:
    cells = [
        _read_cell(
            folder / cell["folder"], seed=int(cell["seed"]), level=float(cell["level"]), failure=cell.get("failure")
        )
        for cell in arm.get("cells", [])
    ]
    record = ArmRecord(
        name=str(arm["name"]),
        algorithm=str(arm.get("algorithm", arm["name"])),
        kind=str(arm.get("kind", "own")),
        about=str(arm.get("about") or ""),
        failure=arm.get("failure"),
        points=[{**point, "validation": finite(point.get("validation"))} for point in arm.get("points", [])],
        chosen=arm.get("chosen"),
        cells=cells,
    )
    _ = record.settings  # a choice of a point that is not there is damage
    return record


def _read_cell(folder: Path, **noted: Any) -> CellRecord:
    """Read what an arm's folder holds; seed and level come from it unless they are given."""
    result_path, settings_path = folder / "result.json", folder / "experiment.toml"
    result = json.loads(result_path.read_text(encoding="utf-8")) if result_path.exists() else {}
    settings = settings_path.read_text(encoding="utf-8") if settings_path.exists() else ""
    log = MetricsLog(folder / "metrics.jsonl").read()
    if not noted:
        document = parse(settings)
        level = document.get("federation", {}).get("participation", 1.0)
        seed = result["seed"] if "seed" in result else document.get("seed", 0)
        noted = {"seed": int(seed), "level": float(level)}
    return CellRecord(folder=folder, settings=settings, result=result, log=log, **noted)


def _read_versions(folder: Path) -> tuple[dict[str, str], datetime]:
    """Return the versions and the start of the run: as recorded, or the date of the experiment's file."""
    path = folder / "versions.json"
    versions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    noted = versions.pop("started", None)
    age = datetime.fromtimestamp((folder / "experiment.toml").stat().st_mtime, UTC)
    return versions, age if noted is None else datetime.fromisoformat(noted)


def finite(value: Any) -> float | None:
    """Return a number that can be drawn and averaged, None for anything else (missing, NaN, infinite)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that exist; None without any."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
