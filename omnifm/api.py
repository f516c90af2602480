"""The library from Python: run, resume and compare experiments, and open what they left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from rich.console import Console

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.progress import StageProgress
from omnifm.callbacks.time_limit import TimeLimit
from omnifm.comparison.compare import compare_locked
from omnifm.comparison.comparison_folder import ComparisonFolder, ComparisonOptions
from omnifm.config.experiment import Changes, Plan, read_plan
from omnifm.core.evaluation import EvaluationPoint
from omnifm.export.client_model import ClientModel
from omnifm.export.loaded_arm import LoadedArm
from omnifm.prediction.predict import predict
from omnifm.prediction.requests import requests_of
from omnifm.results.findings import read_findings
from omnifm.results.frame import read_results
from omnifm.results.result_folder import refuse_comparison
from omnifm.results.statements import statements
from omnifm.results.write import summary_frame
from omnifm.runs.backend import make_backend
from omnifm.runs.run import execute_locked, plan_of
from omnifm.utils.errors import ExperimentError
from omnifm.workers.pool import auto_workers

FolderPath = str | PathLike[str]
AnyExperiment = FolderPath | dict[str, Any] | Plan
"""An experiment: its file, its content, or a plan."""

RUNS = Path("runs")
"""Where runs and comparisons go that are given no folder."""


@dataclass(frozen=True)
class Results:
    """What was measured, read from the folder of a run or a comparison each time it is asked for."""

    folder: Path

    @property
    def results(self) -> pd.DataFrame:
        """Every number, one a row: see ``omnifm.results.frame.COLUMNS``."""
        return read_results(self.folder)

    @property
    def summary(self) -> pd.DataFrame:
        """One row for each arm and evaluation point: scores, costs and differences."""
        return summary_frame(read_findings(self.folder))

    @property
    def report(self) -> Path:
        """The report, which a browser shows."""
        return self.folder / "report.html"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the findings in words, and the summary."""
        found = read_findings(self.folder)
        text = Markup("<p><b>{}</b> ({})</p>").format(found.folder.name, self.folder)
        text += Markup("").join(Markup("<p>{}</p>").format(said) for said in statements(found))
        table = summary_frame(found).dropna(axis="columns", how="all")
        return f"{text}{table.to_html(float_format='{:.4g}'.format)}"


@dataclass(frozen=True)
class ComparisonResults(Results):
    """A comparison, which keeps numbers and no weights."""


@dataclass(frozen=True)
class Run(Results):
    """A run: what was measured, and the models that were learned."""

    plan: Plan

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of the arms."""
        return tuple(self.plan.arms)

    def load(self, arm: str | None = None) -> LoadedArm:
        """Open an arm; its name may be left out where there is one.

        Raises:
            ExperimentError: there is no such arm, or there are several.
        """
        return LoadedArm.of(self.folder, self.plan, arm)

    def model(
        self, client: str | None = None, arm: str | None = None, point: EvaluationPoint = "before_local_training"
    ) -> ClientModel:
        """Return the model of a client, or the shared one, of an arm: see :meth:`LoadedArm.model`."""
        return self.load(arm).model(client, point)

    def predict(
        self,
        images: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
        *,
        table: FolderPath | None = None,
        client: str | None = None,
        arm: str | None = None,
        out: FolderPath | None = None,
        question: str = "",
        modality: str = "",
    ) -> pd.DataFrame:
        """Predict images in files, as ``omnifm predict`` does; the training data are not needed.

        Args:
            images: files, folders of images or of a DICOM series; ``"A;B"`` for the files of one example.
            table: of images, with the columns ``image`` and, where needed, ``pair`` or ``question``.
            client: whose model; without one, that for a hospital that took no part, chosen by the images given.
            arm: which; may be left out where there is one.
            out: the folder of masks and images, and of ``predictions.csv``; needed where there are any.
            question: what is asked of each image.
            modality: of the images, where the run prepared several differently.

        Returns:
            a row for each image that could be read. ``attrs["failed"]`` says of the others why there is none,
            ``attrs["model"]`` whose model was used.

        Raises:
            OmniFMError: there is no such model, or none of the images can be read.
        """
        paths = [images] if isinstance(images, str | PathLike) else images
        requests = requests_of([str(path) for path in paths], None if table is None else Path(table), question)
        folder = None if out is None else Path(out)
        found = predict(self.load(arm), requests, client=client, modality=modality, out=folder)
        found.table.attrs |= {"failed": found.failed, "model": found.chosen}
        return found.table

    def export(
        self, folder: FolderPath, file_format: str = "safetensors", client: str | None = None, arm: str | None = None
    ) -> Path:
        """Write a model for other programs, as ``omnifm export`` does, and return its folder.

        Args:
            folder: where to.
            file_format: ``safetensors``, ``onnx``, ``torch`` or ``monai-bundle``.
            client: whose model; without one, that which all share.
            arm: which; may be left out where there is one.

        Raises:
            OmniFMError: there is no such model or format, or the folder holds a model already.
        """
        from omnifm.export.formats import export_model  # which loads torch's exporters

        export_model(self.load(arm), Path(folder), file_format, client)
        return Path(folder)


def run(
    experiment: AnyExperiment,
    *,
    out: FolderPath | None = None,
    set: Changes = (),  # noqa: A002 - as the command calls it
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
    engine: str = "in-process",
    overwrite: bool = False,
) -> Run:
    """Train every arm of an experiment and write the report, as ``omnifm run`` does.

    Args:
        experiment: its file, its content, or a plan.
        out: the run's folder; ``runs/NAME`` if not given.
        set: changes, ``{"federation.rounds": 4}`` or ``["federation.rounds=4"]``.
        workers: how many clients train at a time; one a core if not given.
        callbacks: receive the events, besides those that the experiment names.
        engine: ``in-process``, or ``flower-simulation``.
        overwrite: remove what the folder holds of an earlier run, and start again.

    Raises:
        OmniFMError: a setting does not fit, data cannot be read, the folder is in use or holds a run; says what to do.
        OutOfTime: a callback has asked to pause; :func:`resume` continues it.
    """
    plan = read_plan(_given(experiment), set)
    folder, backend = RUNS / plan.name if out is None else Path(out), make_backend(engine, _count(workers))
    return Run(folder, execute_locked(plan, folder, backend, callbacks, overwrite=overwrite))


def resume(
    folder: FolderPath,
    *,
    experiment: AnyExperiment | None = None,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
    engine: str = "in-process",
) -> Run:
    """Continue a run after its last checkpoint; it ends as it would have without an interruption.

    Args:
        folder: the run's.
        experiment: as that of the run, if given, but for callbacks and ``[deploy]``.
        workers: as in :func:`run`.
        callbacks: as in :func:`run`.
        engine: as in :func:`run`.

    Raises:
        OmniFMError: as :func:`run`, or there is no run, or the experiment is another one.
    """
    given = None if experiment is None else read_plan(_given(experiment))
    place, backend = Path(folder), make_backend(engine, _count(workers))
    refuse_comparison(place, ". Resume it by omnifm.compare(resume=FOLDER)")
    return Run(place, execute_locked(given, place, backend, callbacks, fresh=False))


def compare(
    experiment: AnyExperiment | None = None,
    *,
    algorithms: str | Sequence[str] | None = None,
    seeds: int = 3,
    ablate: bool = False,
    sweep: Sequence[str] | Mapping[str, Sequence[Any]] = (),
    set: Changes = (),  # noqa: A002 - as the command calls it
    out: FolderPath | None = None,
    resume: FolderPath | None = None,
    workers: int | None = None,
    callbacks: Sequence[Callback] = (),
    overwrite: bool = False,
) -> ComparisonResults:
    """Compare algorithms under one budget, as ``omnifm compare`` does.

    Args:
        experiment: its file, its content, or a plan; may be left out with ``resume``.
        algorithms: names of algorithms or arms, or ``all``; the experiment's arms, or all, if not given.
        seeds: how many.
        ablate: add OmniFM with its parts switched off one at a time, and its controls.
        sweep: values of keys to be tried, ``{"training.learning_rate": [0.01, 0.1]}`` or ``["KEY=A,B"]``.
        set: as in :func:`run`.
        out: the folder; ``runs/NAME`` if not given.
        resume: the folder of a comparison to continue, in place of ``out``.
        workers: as in :func:`run`.
        callbacks: as in :func:`run`.
        overwrite: as in :func:`run`.

    Raises:
        OmniFMError: as :func:`run`.
    """
    if (out is not None and resume is not None) or (experiment is None and resume is None):
        raise ExperimentError(
            "compare: give an experiment, or the folder to resume; out and resume exclude each other."
        )
    names = algorithms if algorithms is None or isinstance(algorithms, str) else ",".join(algorithms)
    sweeps = (
        [f"{key}={','.join(map(json.dumps, values))}" for key, values in sweep.items()]  # TOML, too, for such values
        if isinstance(sweep, Mapping)
        else sweep
    )
    options = ComparisonOptions(names, seeds, ablate, tuple(sweeps))
    given = None if experiment is None else read_plan(_given(experiment), set)
    if given is None and (set or options != ComparisonOptions()):
        raise ExperimentError("compare: give the experiment too, or resume=FOLDER alone to continue as begun.")
    fresh = options.design(given.document) if given and resume is None else None
    folder = ComparisonFolder(Path(resume or out or RUNS / (fresh.name if fresh else "")))
    silent = StageProgress(Console(quiet=True))
    compare_locked(given, fresh, options, folder, _count(workers), silent, TimeLimit(), callbacks, overwrite=overwrite)
    return ComparisonResults(folder.path)


def load(folder: FolderPath) -> Run:
    """Open the folder of a run, finished or not; nothing is trained.

    Raises:
        ExperimentError: it holds no run.
    """
    place = Path(folder)
    refuse_comparison(place, ". Read it by omnifm.ComparisonResults(FOLDER)")
    return Run(place, plan_of(place))


def _given(experiment: AnyExperiment) -> str | Path | dict[str, Any] | Plan:
    return Path(experiment) if isinstance(experiment, PathLike) else experiment


def _count(workers: int | None) -> int:
    if workers is None:
        return auto_workers()
    if not isinstance(workers, int) or workers < 1:
        raise ExperimentError(f"workers = {workers!r} must be a number from 1 up, or None for one a core.")
    return workers
