"""A comparison's folder: the request, and the outcome of each cell."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.comparison.arms import ABLATION, OMNIFM, ArmPlan, named_arms, swept, with_baselines
from omnifm.comparison.design import Cell, Design, make_design
from omnifm.config.experiment import read_plan
from omnifm.config.overrides import differences
from omnifm.config.toml import Document, to_toml
from omnifm.data.data_record import DataRecord
from omnifm.runs.arm_folder import ArmFolder
from omnifm.runs.run import versions
from omnifm.utils.atomic_write import remove_strays, write_atomically
from omnifm.utils.errors import ExperimentError


@dataclass(frozen=True)
class ComparisonOptions:
    """The options of the command line besides the experiment."""

    algorithms: str | None = None
    seeds: int = 3
    ablate: bool = False
    sweep: tuple[str, ...] = ()

    def arms(self, document: Document) -> list[ArmPlan]:
        """Return the arms, the baselines among them."""
        chosen: list[ArmPlan] = []
        if self.algorithms is not None:
            chosen = named_arms(self.algorithms, document)
        elif not self.ablate and not self.sweep:
            chosen = named_arms(",".join(document.get("arms") or ()) or "all", document)
        elif self.sweep and not self.ablate:
            chosen = [OMNIFM]
        if self.ablate:
            chosen = [*ABLATION, *(arm for arm in chosen if arm not in ABLATION)]
        for sweep in self.sweep:
            chosen = swept(chosen, sweep)
        return with_baselines(chosen)

    def design(self, document: Document) -> Design:
        """Return the design of the comparison.

        Raises:
            ExperimentError: see ``make_design``.
        """
        if self.seeds < 1:
            raise ExperimentError("--seeds must be at least 1.")
        return make_design(document, self.arms(document), self.seeds)


@dataclass(frozen=True)
class Outcome:
    """How a cell's rounds ended: the best validation score by evaluation point, or why they could not run."""

    best: dict[str, tuple[int, float]]
    failure: str | None = None

    @property
    def validation(self) -> float | None:
        """The mean of the best scores at the evaluation points: settings must serve them all."""
        return None if self.failure else sum(score for _, score in self.best.values()) / len(self.best)


@dataclass(frozen=True)
class ComparisonFolder:
    """The files of a comparison."""

    path: Path

    @property
    def record(self) -> Path:
        """The request and the results."""
        return self.path / "comparison.json"

    @property
    def document(self) -> Path:
        """The experiment file, as it was read."""
        return self.path / "experiment.toml"

    @property
    def kept(self) -> KeptWeights:
        """Copies of the weights that arms start from."""
        return KeptWeights(self.path / "init")

    @property
    def data(self) -> DataRecord:
        """What is known of the data."""
        return DataRecord(self.path)

    def keep_weights(self, design: Design, known: KeptWeights | None) -> None:
        """Copy what the arms of a design start from; ``known`` copies go before the files themselves.

        Raises:
            ExperimentError: a file does not exist, or cannot be copied.
        """
        places = [(arm, point) for arm in design.arms for point in range(len(arm.points))]
        self.kept.keep((arm.experiment(point, design.seeds[0]).init for arm, point in places), known)

    def has_begun(self) -> bool:
        """Return whether there is a comparison to resume."""
        return self.record.exists() and self.document.exists()

    def check_begun(self) -> None:
        """Check that there is a comparison to resume.

        Raises:
            ExperimentError: there is none.
        """
        if not self.has_begun():
            missing = self.document if self.record.exists() else self.record
            raise ExperimentError(f"{self.path} holds no comparison to resume: there is no {missing}.")

    def check_free(self) -> None:
        """Check that the folder holds nothing yet.

        Raises:
            ExperimentError: it holds a comparison or a run already.
        """
        if self.has_begun():
            raise ExperimentError(
                f"{self.path} holds a comparison already. Give another --out, or resume it: --resume {self.path}. "
                f"--overwrite removes it."
            )
        if self.document.exists():
            raise ExperimentError(f"{self.path} holds a run already. Give another --out, or --overwrite it.")

    def open(self, document: Document, options: ComparisonOptions) -> None:
        """Create the folder and its files.

        Raises:
            ExperimentError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / "versions.json", json.dumps(versions(), indent=2).encode())
            write_atomically(self.record, json.dumps({"asked": asdict(options)}, indent=1).encode())
            write_atomically(self.document, to_toml(document).encode())  # the last: with it there is a comparison
        except OSError as error:
            raise ExperimentError(f"The folder {self.path} cannot be written: {error.strerror}.") from None

    def reopen(self, document: Document | None, options: ComparisonOptions) -> Design:
        """Return the design of the comparison in this folder; what is given must be the same.

        Raises:
            ExperimentError: there is none, or it has changed since; names the difference.
        """
        old = self.design()
        remove_strays(self.path)
        if document is None:
            return old
        given = options.design(document)
        if changed := differences(old.resolved(), given.resolved()):
            raise ExperimentError(
                f"The comparison is not that of {self.path}: {'; '.join(changed)}. Resume without an experiment file "
                f"to continue the old one, or start a new one with another --out."
            )
        return given

    def design(self) -> Design:
        """Return the design of the comparison in this folder, which is not changed.

        Raises:
            ExperimentError: there is none, or its files are damaged.
        """
        self.check_begun()
        asked = json.loads(self.record.read_text(encoding="utf-8"))["asked"]
        return ComparisonOptions(**{**asked, "sweep": tuple(asked["sweep"])}).design(read_plan(self.document).document)

    def cell(self, cell: Cell) -> ArmFolder:
        """Return the folder of a cell."""
        return ArmFolder(self.path / cell.folder, self.kept)

    def outcome(self, cell: Cell) -> Outcome | None:
        """Return how a cell's rounds ended; None if they have not."""
        path = self.cell(cell).path / "trained.json"
        if not path.exists():
            return None
        return Outcome(**json.loads(path.read_text(encoding="utf-8")))

    def keep_outcome(self, cell: Cell, outcome: Outcome) -> None:
        """Store how a cell's rounds ended."""
        folder = self.cell(cell).path
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "trained.json", json.dumps(asdict(outcome)).encode())

    def forget_weights(self, cell: Cell) -> None:
        """Remove a cell's checkpoints, which nothing needs any more."""
        shutil.rmtree(self.cell(cell).checkpoints().folder, ignore_errors=True)

    def keep_record(self, found: dict[str, Any]) -> None:
        """Store the results beside the request."""
        options = json.loads(self.record.read_text(encoding="utf-8"))["asked"]
        write_atomically(self.record, json.dumps({"asked": options, **found}, indent=1).encode())
