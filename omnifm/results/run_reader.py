"""Reading a run's folder back: the arms in the experiment's order, finished or not, and their numbers.

The table in the terminal and the report both read through here, so they cannot disagree.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from omnifm.callbacks.metrics_log import MetricsLog
from omnifm.results.numerals import places
from omnifm.utils.errors import ExperimentError

POINT_NAMES = {"before_local_training": "as received", "after_local_training": "after_local_training"}

Curve = list[tuple[int, float]]
"""Values by round, in order of the rounds."""


@dataclass(frozen=True)
class ArmRecord:
    """What one arm has written so far. ``result`` is None until the arm is finished."""

    name: str
    folder: Path
    algorithm: str
    settings: str
    result: dict[str, Any] | None
    log: list[dict[str, Any]]

    @property
    def finished(self) -> bool:
        """Whether the arm has its test results."""
        return self.result is not None

    @cached_property
    def rounds(self) -> list[dict[str, Any]]:
        """The log's lines of rounds, one a round, in order."""
        lines = {line["round"]: line for line in self.log if line.get("event") == "round"}
        return [lines[number] for number in sorted(lines)]

    @cached_property
    def _validation(self) -> dict[str, dict[int, dict[str, Any]]]:
        found: dict[str, dict[int, dict[str, Any]]] = {point: {} for point in POINT_NAMES}
        for line in self.log:
            if line.get("event") == "evaluation" and line.get("split") == "validation":
                found.setdefault(line["point"], {})[line["round"]] = line["clients"]
        return found

    def scores(self, point: str, metric: str) -> dict[str, float]:
        """Return the test scores by client, of the clients that have one."""
        test = (self.result or {}).get("test", {}).get(point, {})
        found = {client: finite(entry.get("numbers", {}).get(metric)) for client, entry in test.items()}
        return {client: value for client, value in found.items() if value is not None}

    def metrics(self) -> list[str]:
        """Return the names of all test metrics, in the order of their first appearance."""
        test = (self.result or {}).get("test", {})
        entries = [entry for scores in test.values() for entry in scores.values()]
        return list(dict.fromkeys(name for entry in entries for name in entry.get("numbers", {})))

    def curve(self, point: str, metric: str, client: str | None = None) -> Curve:
        """Return a validation metric by round: of one client, or the mean over the clients that have it."""
        points = []
        for number, clients in sorted(self._validation[point].items()):
            chosen = clients.values() if client is None else [clients.get(client, {})]
            if (value := mean(finite(numbers.get(metric)) for numbers in chosen)) is not None:
                points.append((number, value))
        return points

    def loss(self) -> Curve:
        """Return the training loss by round, the mean over the round's clients."""
        points = []
        for line in self.rounds:
            value = mean(finite(client.get("loss")) for client in line.get("clients", {}).values())
            if value is not None:
                points.append((line["round"], value))
        return points

    def chosen_round(self, point: str) -> int | None:
        """Return the round that validation chose for an evaluation point."""
        best = (self.result or {}).get("best", {}).get(point)
        return None if best is None else int(best[0])

    @property
    def stopped(self) -> str:
        """Say when and why the rounds ended early; empty if they did not."""
        result = self.result or {}
        return f"after round {result['rounds']}, as {result['stopped']}" if result.get("stopped") else ""

    def table(self, point: str, client: str, name: str) -> list[list[float]] | None:
        """Return one of a client's test tables, None where there is none of that name in two axes."""
        entry = (self.result or {}).get("test", {}).get(point, {}).get(client, {})
        table = entry.get("tables", {}).get(name)
        return table if table and all(isinstance(row, list) for row in table) else None


@dataclass(frozen=True)
class Run:
    """A run's folder, read."""

    folder: Path
    name: str
    experiment: str
    versions: dict[str, str]
    date: datetime
    arms: list[ArmRecord]

    @property
    def finished(self) -> list[ArmRecord]:
        """The arms that have their test results."""
        return [arm for arm in self.arms if arm.finished]

    @property
    def main_metric(self) -> str | None:
        """The task's main metric; None until an arm is finished."""
        return next((arm.result["main_metric"] for arm in self.arms if arm.result), None)

    @cached_property
    def points(self) -> dict[str, str]:
        """The evaluation points at which the arms were tested, each with its name; the first is the one that judges."""
        return points_of(self.arms)

    @property
    def point(self) -> str:
        """The evaluation point that judges: as received, unless the arms were tested in the other one only."""
        return next(iter(self.points))

    def places(self, metric: str) -> int:
        """Return with how many decimals a metric's test scores are shown."""
        return places(v for arm in self.arms for point in POINT_NAMES for v in arm.scores(point, metric).values())

    @property
    def label_names(self) -> list[str]:
        """The names of the classes, if the task has any."""
        return next((arm.result.get("label_names", []) for arm in self.arms if arm.result), [])

    @property
    def seeds(self) -> list[int]:
        """The seeds of the finished arms, each once."""
        return sorted({arm.result["seed"] for arm in self.arms if arm.result})

    @cached_property
    def clients(self) -> dict[str, dict[str, Any]]:
        """The clients and what each holds, in the order of the first finished arm."""
        found: dict[str, dict[str, Any]] = {}
        for arm in self.finished:
            for client, holds in (arm.result or {}).get("clients", {}).items():
                found.setdefault(client, holds)
        return found


def read_run(out: Path) -> Run:
    """Read a run's folder.

    Arms come in the order of the experiment file; arms that only their folder knows of follow by name.

    Raises:
        ExperimentError: the folder holds no run, or its experiment file is damaged.
    """
    path = out / "experiment.toml"
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise ExperimentError(f"{out} holds no run: there is no {path}.") from None
    except (OSError, ValueError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}.") from None
    declared = list(document.get("arms") or {})
    if not declared and "algorithm" in document:
        declared = [document["algorithm"]]
    found = sorted({p.parent.name for file in ("metrics.jsonl", "result.json") for p in out.glob(f"*/{file}")})
    names = list(dict.fromkeys([*declared, *found]))
    versions, date = read_versions(out / "versions.json", path)
    arms = [read_arm(name, out / name, _planned(name, document)) for name in names]
    return Run(out, str(document.get("name", out.name)), text, versions, date, arms)


def _planned(name: str, document: dict[str, Any]) -> str:
    """Return the algorithm that the experiment file names for an arm."""
    return str((document.get("arms") or {}).get(name, {}).get("algorithm", document.get("algorithm", name)))


def read_arm(name: str, folder: Path, planned: str) -> ArmRecord:
    """Read an arm's folder, whatever of it is there; ``planned`` is its algorithm until its result names it."""
    result_path, settings_path = folder / "result.json", folder / "experiment.toml"
    result = json.loads(result_path.read_text(encoding="utf-8")) if result_path.exists() else None
    settings = settings_path.read_text(encoding="utf-8") if settings_path.exists() else ""
    algorithm = str(result["algorithm"] if result else planned)
    return ArmRecord(name, folder, algorithm, settings, result, MetricsLog(folder / "metrics.jsonl").read())


def read_versions(path: Path, experiment: Path) -> tuple[dict[str, str], datetime]:
    """Return the versions, and when the run began: noted beside them, or else the age of the experiment's file."""
    versions = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    noted = versions.pop("started", None)
    if noted is not None:
        return versions, datetime.fromisoformat(noted)
    return versions, datetime.fromtimestamp(experiment.stat().st_mtime, UTC)


def points_of(arms: Iterable[ArmRecord]) -> dict[str, str]:
    """Return the points at which any of these arms was tested, each with its name; all, where none was yet."""
    tested = {point for arm in arms for point in (arm.result or {}).get("test", {})}
    return {point: name for point, name in POINT_NAMES.items() if point in tested} or POINT_NAMES


def finite(value: Any) -> float | None:
    """Return a number that can be drawn and averaged, None for anything else (missing, NaN, infinite)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that exist; None without any."""
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None


def lower_is_better(metric: str, arms: Iterable[ArmRecord]) -> bool:
    """Tell whether a smaller value of a metric is the better one, as the results of these arms say."""
    return metric == "loss" or any(metric in (arm.result or {}).get("lower_is_better", ()) for arm in arms)
