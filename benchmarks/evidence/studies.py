"""The studies behind ``docs/results/``, as ``examples/results/studies.toml`` lists them."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from omnifm.comparison.comparison_folder import ComparisonFolder, ComparisonOptions
from omnifm.config.experiment import Plan, read_plan

Claims = Mapping[str, float | bool]


@dataclass(frozen=True)
class Study:
    """One comparison: ``file`` with changes to it, for a scenario (a sentence), and the claims that it decides."""

    name: str
    file: Path
    scenario: str
    changes: tuple[str, ...]
    options: ComparisonOptions
    claims: Claims

    @property
    def about(self) -> str:
        """The comment at the top of its file, and its scenario."""
        lines = self.file.read_text(encoding="utf-8").splitlines()
        comment = [line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)]
        return " ".join([*comment, self.scenario]).rstrip()

    def plan(self, data: Path | None = None) -> Plan:
        """Return its experiment, with data below ``data`` if it needs any; raises ExperimentError if it is invalid."""
        return read_plan(self.file, [*self.changes, *self._root(data)])

    @cached_property
    def needs_data(self) -> bool:
        """Whether it reads images from a folder."""
        return any(not source["kind"].startswith("phantom") for source in self.plan().document["data"]["sources"])

    def arguments(self, data: Path | None = None) -> list[str]:
        """Return the arguments of ``omnifm compare`` except for the folder."""
        words = ["--algorithms", self.options.algorithms or "all", "--seeds", str(self.options.seeds)]
        changes = [word for change in (*self.changes, *self._root(data)) for word in ("--set", change)]
        return [str(self.file), *words, *(["--ablate"] if self.options.ablate else []), *changes]

    def command(self, root: Path) -> str:
        """Return the command to type in the folder ``root``."""
        file, *others = self.arguments(Path("DIR"))
        shown = Path(file).resolve()
        where = shown.relative_to(root) if shown.is_relative_to(root) else shown
        return shlex.join(["omnifm", "compare", str(where), *others])

    def is_finished(self, folder: Path) -> bool:
        """Whether the comparison in a folder is finished."""
        record = ComparisonFolder(folder).record
        return record.exists() and "arms" in json.loads(record.read_text(encoding="utf-8"))

    def check_same(self, folder: Path) -> None:
        """Check that the comparison in a folder is this one, wherever its data were.

        Raises:
            ExperimentError: it is not; names what differs.
        """
        comparison = ComparisonFolder(folder)
        root = read_plan(comparison.document).document["data"].get("root")
        comparison.reopen(self.plan(root and Path(root)).document, self.options)

    def _root(self, data: Path | None) -> list[str]:
        return [f'data.root="{data}"'] if data is not None and self.needs_data else []


def read_studies(path: Path, *, small: bool) -> list[Study]:
    """Return the studies of a list, or its short ones that take a quarter of an hour."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        _study(path.parent, document, entry, scenario)
        for entry in document.get("small" if small else "studies", [])
        for scenario in entry.get("scenarios", [""])
    ]


def _study(folder: Path, document: Mapping[str, Any], entry: Mapping[str, Any], scenario: str) -> Study:
    name = entry["name"].replace("{scenario}", scenario.partition("-")[0])
    rows = ",".join(row.strip() for row in (entry.get("rows") or document["rows"]).split(","))
    given = document["scenarios"][scenario] if scenario else {"about": entry.get("about", ""), "set": []}
    changes = [f'name="{name}"', *given["set"], *entry.get("set", [])]
    options = ComparisonOptions(rows, entry.get("seeds", 3), entry.get("ablate", False))
    claims = document.get("claims", {}).get(name, {})
    return Study(name, folder / entry["file"], given["about"], tuple(changes), options, claims)
