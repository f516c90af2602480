"""A run: every arm of a plan in turn, into one folder that holds all that is needed to run it again."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.config.experiment import Plan, read_plan, to_document
from omnifm.config.overrides import differences
from omnifm.config.toml import to_toml
from omnifm.results.report import write_report
from omnifm.runs.run_arm import ArmFolder, Stage, Watcher, run_arm
from omnifm.utils.atomic_write import remove_strays, write_atomically
from omnifm.utils.errors import ExperimentError

_VERSIONED = ("omnifm", "torch", "numpy", "scipy", "monai", "nilearn", "nibabel", "safetensors")


def create(out: Path, plan: Plan) -> Plan:
    """Make a new run's folder, write down what it is, and return the plan.

    Raises:
        ExperimentError: the folder holds a run already, or cannot be made, or weights to start from are not there.
    """
    if (out / "comparison.json").exists():
        raise ExperimentError(f"{out} holds a comparison already. Give another --out.")
    if has_begun(out):
        raise ExperimentError(f"{out} holds a run already. Continue it with --resume {out}, or give another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / "versions.json", json.dumps(versions(), indent=2).encode())
        _kept(out).keep((experiment.init for experiment in plan.arms.values()), plan.weights)
        write_atomically(out / "experiment.toml", to_toml(plan.document).encode())  # the last: with it there is a run
    except OSError as error:
        raise ExperimentError(f"The run's folder {out} cannot be written: {error.strerror}.") from None
    return plan


def has_begun(out: Path) -> bool:
    """Tell whether an arm of the run in this folder has begun; before that there is nothing to lose."""
    return any(out.glob("*/experiment.toml"))


def resume(out: Path, plan: Plan | None) -> Plan:
    """Return the plan of an existing run; ``plan``, if given, must be the same.

    Raises:
        ExperimentError: there is no run, or the experiment has changed since; names the difference.
    """
    old = plan_of(out, "no run to resume")
    remove_strays(out)
    if plan is not None and (changed := differences(_resolved(old), _resolved(plan))):
        raise ExperimentError(
            f"The experiment is not that of {out}: {'; '.join(changed)}. Resume without an experiment file to go on "
            f"with the old one, or start a new run."
        )
    return old


def plan_of(out: Path, lacking: str = "no run") -> Plan:
    """Return the plan of the run in this folder; nothing there is changed.

    Raises:
        ExperimentError: there is none, which ``lacking`` says.
    """
    path = out / "experiment.toml"
    if not path.exists():
        raise ExperimentError(f"{out} holds {lacking}: there is no {path}.")
    return read_plan(path)


def execute(plan: Plan, out: Path, stage: Stage, watch: Watcher) -> None:
    """Run every arm that is not finished, then write ``report.html``."""
    waiting = {name: experiment for name, experiment in plan.arms.items() if not arm_folder(out, name).result.exists()}
    for experiment in waiting.values():  # a mistake in the last arm is told before the first has trained
        stage.arm(experiment, _kept(out))
    for name, experiment in waiting.items():
        run_arm(name, experiment, stage, arm_folder(out, name), watch)
    for name in plan.arms:
        remove_strays(out / name)  # of workers that were killed; what `report` may be writing lies beside
    write_report(out)


def arm_folder(out: Path, name: str) -> ArmFolder:
    """Return where an arm of the run in this folder lies."""
    return ArmFolder(out / name, _kept(out))


def _kept(out: Path) -> KeptWeights:
    return KeptWeights(out / "init")


def versions() -> dict[str, str]:
    """Return the versions that a run depends on, and when it started."""
    found = {name: importlib.metadata.version(name) for name in _VERSIONED}
    system = {"python": platform.python_version(), "platform": platform.platform()}
    return {"started": datetime.now(UTC).isoformat(timespec="seconds"), **system, **found}


def _resolved(plan: Plan) -> dict[str, Any]:
    return {name: to_document(experiment) for name, experiment in plan.arms.items()}
