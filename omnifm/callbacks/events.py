"""The events that callbacks receive: frozen records, each with its run and arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from omnifm.core.checkpoint import Checkpoint
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Upload
from omnifm.tasks.task import Scores


@dataclass(frozen=True)
class RunInfo:
    """A run, or a comparison: the experiment's name and the folder that everything is written to."""

    name: str = ""
    folder: Path = Path()


@dataclass(frozen=True, kw_only=True)
class ArmInfo:
    """One arm of a run, or one cell of a comparison, which is an arm with one setting, seed and participation.

    Attributes:
        run: the run that it belongs to.
        name: the arm's name; a comparison has several cells of this name.
        folder: its own folder, below the run's.
        seed: of the experiment.
        rounds: how many are planned.
        metric: the task's main metric.
        points: at which evaluation points clients are evaluated.
        experiment: the complete experiment, tables as in its file, defaults written out.
    """

    run: RunInfo = RunInfo()
    name: str = ""
    folder: Path = Path()
    seed: int = 0
    rounds: int = 0
    metric: str = ""
    points: tuple[EvaluationPoint, ...] = ()
    experiment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The path of its folder below the run's: unique in a run or a comparison."""
        try:
            return self.folder.relative_to(self.run.folder).as_posix()
        except ValueError:
            return self.name


@dataclass(frozen=True)
class RunEnd:
    """A run has ended; ``error`` is what ended it early, if anything did (an interruption too)."""

    run: RunInfo
    error: BaseException | None = None


@dataclass(frozen=True)
class ArmStart:
    """An arm starts, or resumes: ``checkpoint`` is of round 0, or of the last round that is done."""

    arm: ArmInfo
    checkpoint: Checkpoint


@dataclass(frozen=True)
class ArmEnd:
    """An arm has ended; ``error`` is what ended it early, if anything did."""

    arm: ArmInfo
    error: BaseException | None = None


@dataclass(frozen=True)
class RoundStart:
    """A round begins with these clients."""

    arm: ArmInfo
    round: int
    clients: Sequence[str]


@dataclass(frozen=True)
class UploadEvent:
    """One client's upload has arrived."""

    arm: ArmInfo
    round: int
    upload: Upload


@dataclass(frozen=True)
class RoundEvent:
    """A finished round: bytes sent to and by its clients, ``clients`` with loss and samples, the algorithm's report.

    In a private run a client has no loss, but the ``epsilon`` that it has spent.
    ``rejected`` says by client why its upload did not count, ``refused`` why the whole round did not, if so.
    """

    arm: ArmInfo
    round: int
    _: KW_ONLY
    seconds: float
    bytes_down: int
    bytes_up: int
    clients: dict[str, dict[str, float]]
    report: dict[str, Any]
    rejected: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True)
class EvaluationEvent:
    """All clients evaluated on one split at one evaluation point, after ``round`` rounds."""

    arm: ArmInfo
    round: int
    _: KW_ONLY
    split: Split
    point: EvaluationPoint
    scores: dict[str, Scores]

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the clients that have it."""
        values = self.by_client(metric).values()
        return sum(values) / len(values) if values else float("nan")

    def by_client(self, metric: str) -> dict[str, float]:
        """Return a metric of each client that has it."""
        return {name: one.numbers[metric] for name, one in self.scores.items() if metric in one.numbers}


@dataclass(frozen=True)
class CheckpointEvent:
    """A round is complete.

    ``improved`` are the evaluation points at which it is the best so far, by the mean validation score.
    """

    arm: ArmInfo
    checkpoint: Checkpoint
    improved: tuple[EvaluationPoint, ...] = ()
