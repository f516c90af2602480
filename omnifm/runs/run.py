"""A run: every arm of a plan in turn, in one folder that holds all that is needed to repeat it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from omnifm.callbacks.callback import Callback, notify, notify_at_end
from omnifm.callbacks.events import RunEnd, RunInfo
from omnifm.callbacks.registry import make_callbacks
from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.config.experiment import Plan, determining, read_plan, without_cache
from omnifm.config.overrides import differences
from omnifm.config.toml import to_toml
from omnifm.data.data_record import DataRecord
from omnifm.results.result_folder import runs_near
from omnifm.results.write import write_results
from omnifm.runs.arm_folder import ArmFolder
from omnifm.runs.backend import Backend
from omnifm.runs.clearing import clear
from omnifm.runs.run_arm import run_arm
from omnifm.utils.atomic_write import remove_strays, write_atomically
from omnifm.utils.errors import ExperimentError
from omnifm.utils.lock import locked

_VERSIONED = ("omnifm", "torch", "numpy", "scipy", "monai", "nilearn", "nibabel", "safetensors")


def create(out: Path, plan: Plan) -> Plan:
    """Create the folder of a new run with its plan, and return the plan.

    Raises:
        ExperimentError: the folder holds a run already, or cannot be made, weights to start from are missing, or
            a callback cannot be made.
    """
    make_callbacks(plan.document)
    if (out / "comparison.json").exists():
        raise ExperimentError(f"{out} holds a comparison already. Give another --out, or --overwrite it.")
    if has_begun(out):
        raise ExperimentError(
            f"{out} holds a run already. Continue it with --resume {out}, give another --out, or --overwrite it."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        DataRecord(out).forget()  # of a run that never began
        write_atomically(out / "versions.json", json.dumps(versions(), indent=2).encode())
        _kept(out).keep((experiment.init for experiment in plan.arms.values()), plan.weights)
        write_atomically(out / "experiment.toml", to_toml(plan.document).encode())  # the last: with it there is a run
    except OSError as error:
        raise ExperimentError(f"The run's folder {out} cannot be written: {error.strerror}.") from None
    return plan


def has_begun(out: Path) -> bool:
    """Return whether an arm of the run in this folder has begun."""
    return any(out.glob("*/experiment.toml"))


def reopen(out: Path, plan: Plan | None) -> Plan:
    """Return the plan of an existing run; ``plan``, if given, must agree in everything that affects results.

    What does not (callbacks, ``[deploy]``, where the data are) is taken from ``plan``, if given.

    Raises:
        ExperimentError: there is no run, or the experiment has changed since; names the difference.
    """
    old = plan_of(out, "no run to resume")
    remove_strays(out)
    if plan is not None and (changed := differences(_resolved(old), _resolved(plan))):
        raise ExperimentError(
            f"The experiment is not that of {out}: {'; '.join(changed)}. Resume without an experiment file to "
            f"continue the old one, or start a new run."
        )
    return old if plan is None else replace(plan, weights=old.weights)


def plan_of(out: Path, lacking: str = "no run") -> Plan:
    """Return the plan of the run in this folder, which is not changed.

    Raises:
        ExperimentError: no run exists; ``lacking`` is the message.
    """
    path = out / "experiment.toml"
    if not path.exists():
        raise ExperimentError(f"{out} holds {lacking}: there is no {path}. {runs_near(out)}")
    return read_plan(path)


def execute(plan: Plan, out: Path, backend: Backend, callbacks: Sequence[Callback] = ()) -> None:
    """Run every arm that is not finished, then write the tables and the report.

    The callbacks of the experiment receive events after those given here.

    Raises:
        OutOfTime: a callback has asked to pause; the run can be resumed.
    """
    run, own = RunInfo(plan.name, out), make_callbacks(plan.document)
    with backend.open(plan, out) as backends:
        everyone = [*backends, *callbacks, *own]
        with notify_at_end(everyone, Callback.on_run_end, partial(RunEnd, run)):
            notify(everyone, Callback.on_run_start, run)
            waiting = {name: one for name, one in plan.arms.items() if not arm_folder(out, name).result.exists()}
            for experiment in waiting.values():  # errors in any arm are reported before the first trains
                backend.arm(experiment, _kept(out))
            for name, experiment in waiting.items():
                run_arm(name, experiment, backend, arm_folder(out, name), run, everyone)
            for name in plan.arms:
                remove_strays(out / name)  # of killed workers; `report` writes elsewhere
            write_results(out)


def execute_locked(
    given: Plan | None,
    out: Path,
    backend: Backend,
    callbacks: Sequence[Callback] = (),
    *,
    fresh: bool = True,
    overwrite: bool = False,
    guard: AbstractContextManager[object] | None = None,
    use_cache: bool = True,
) -> Plan:
    """Create a run, or resume one, and execute it, its folder locked.

    With ``overwrite`` a run or comparison that the folder holds is removed first. ``guard`` is entered after the run is
    created and before it is executed. Without ``use_cache`` images are read anew and not kept. Returns the plan.

    Raises:
        FolderInUseError: another process holds the folder.
        ExperimentError, OutOfTime: as :func:`create`, :func:`reopen` and :func:`execute`.
    """
    if not fresh:
        plan_of(out, "no run to resume")  # else a lock file would be left in an unrelated folder
    with locked(out):
        if overwrite and fresh:
            clear(out)
        plan = create(out, given) if given and fresh else reopen(out, given)
        with guard or nullcontext():
            execute(plan if use_cache else without_cache(plan), out, backend, callbacks)
    return plan


def arm_folder(out: Path, name: str) -> ArmFolder:
    """Return the folder of an arm of a run."""
    return ArmFolder(out / name, _kept(out))


def _kept(out: Path) -> KeptWeights:
    return KeptWeights(out / "init")


def versions() -> dict[str, str]:
    """Return the versions that a run depends on, and when it started."""
    found = {name: importlib.metadata.version(name) for name in _VERSIONED}
    system = {"python": platform.python_version(), "platform": platform.platform()}
    return {"started": datetime.now(UTC).isoformat(timespec="seconds"), **system, **found}


def _resolved(plan: Plan) -> dict[str, Any]:
    return {name: determining(experiment) for name, experiment in plan.arms.items()}
