"""Pretraining in one place: an experiment as one arm that pools all data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from omnifm.algorithms.composition import BuildContext
from omnifm.algorithms.registry import make_algorithm
from omnifm.checkpoint.weight_file import WEIGHT_SUFFIX
from omnifm.config.experiment import Plan, base_of, make_experiment, make_plan, renewed
from omnifm.config.overrides import merged
from omnifm.utils.errors import ExperimentError


def pretraining_plan(plan: Plan) -> Plan:
    """Return the one arm that makes an experiment's first weights: ``centralised``, evaluated as received.

    Arms are left out. The network has the adapter if the experiment's own algorithm gives it one, so that both can be
    started from.
    """
    document = base_of(plan.document)
    own = make_experiment(document)
    use = own.adapter.use
    if use == "auto":
        use = "on" if make_algorithm(own.algorithm, BuildContext(own.sections)).adapter else "off"
    changes = {
        "algorithm": "centralised",
        "adapter": {"use": use},
        "federation": {"evaluate": ["before_local_training"], "participation": 1.0, "personal": []},
    }
    return replace(make_plan(renewed(merged(document, changes), plan.document)), weights=plan.weights)


def folder_of(file: Path) -> Path:
    """Return the run's folder next to a file of weights: its name without the ending.

    Raises:
        ExperimentError: the name does not end so.
    """
    if file.suffix != WEIGHT_SUFFIX or not file.stem:
        raise ExperimentError(
            f"--out {file}: the weights are a {WEIGHT_SUFFIX} file, so let its name end in {WEIGHT_SUFFIX}."
        )
    return file.with_suffix("")


def file_of(folder: Path) -> Path:
    """Return the file of weights next to the folder of its run."""
    return folder.with_name(folder.name + WEIGHT_SUFFIX)
