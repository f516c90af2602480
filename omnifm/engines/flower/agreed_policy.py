"""The policy that permits an experiment and nothing more, for the hospitals that take part in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

from omnifm.config.experiment import Experiment, Plan
from omnifm.engines.flower.client_policy import ClientPolicy, UploadKind
from omnifm.engines.flower.deploy_settings import deploy_settings
from omnifm.engines.flower.expected_upload import ImaginedData, largest_upload, size_and_spec
from omnifm.engines.flower.policy import (
    BOUNDS,
    FLOORS,
    algorithm_names,
    exact_prototypes,
    local_epochs,
    outside_names,
    privacy_asked_for,
    setting_of,
    sizes_by_kind,
)
from omnifm.privacy.budget import highest_epsilon
from omnifm.privacy.settings import LEAST_IN_SUM
from omnifm.runs.arm import build_arm
from omnifm.utils.errors import DeploymentError

_MARGIN = 1.5
_RUNS_A_DAY = 2
_LEAST_MEGABYTES, _BYTES_A_NUMBER = 10.0, 16
"""Room in a message for four sets of weights, such as the shared ones, those of a circle and an algorithm's own."""


def agreed_policy(plan: Plan) -> ClientPolicy:
    """Return the policy that permits the arms of a plan.

    Its bounds are the largest values of the arms, its ``personal`` parts those that no arm shares. The number of
    classes is not known before the hospitals have met, so that ``parameters`` leaves room for more than usual. A day
    has room for two such runs, since a run may have to be started again; the privacy budget, where all arms are
    private, for all arms once.
    """
    arms = list(plan.arms.values())
    known: dict[str, Any] = {key: max(setting_of(one, setting) for one in arms) for setting, key in BOUNDS.items()}
    known |= {key: min(setting_of(one, setting) for one in arms) for setting, key in FLOORS.items()}
    summed = [one.privacy.secure_aggregation for one in arms]
    known |= {
        "secure_aggregation": "required" if all(summed) else "allowed",
        "secure_threshold": min(one.privacy.secure_threshold for one in arms) if all(summed) else LEAST_IN_SUM,
    }
    known |= {"exact_prototypes": any(exact_prototypes(one) for one in arms)}
    known |= _agreed_privacy(arms)
    rounds = sum(one.federation.rounds + 1 for one in arms)
    values: dict[str, Any] = {
        "tasks": _union(arms, lambda one: [one.task]),
        "algorithms": _union(arms, algorithm_names),
        "models": _union(arms, outside_names),
        "epochs": max(local_epochs(one) for one in arms),
        "rounds_a_day": _RUNS_A_DAY * rounds,
        "minutes": deploy_settings(plan.document).deadline / 60,
        **known,
    }
    if all(Path(model).exists() for model in values["models"]):  # else the defaults hold
        values |= _measured(arms)
    return ClientPolicy(**values)


def check_floors(plan: Plan) -> None:
    """Check that no arm asks for less than what every hospital's policy protects by default.

    Raises:
        DeploymentError: one does; names the setting.
    """
    for experiment in plan.arms.values():
        for setting, key in FLOORS.items():
            asked, floor = setting_of(experiment, setting), getattr(ClientPolicy, key)
            if asked < floor:
                raise DeploymentError(
                    f"{setting} = {asked}, but by default a hospital shares nothing of fewer than {floor} patients: "
                    f"raise it. A hospital that wants it so can lower policy.{key} in its client.toml by hand."
                )


def _agreed_privacy(arms: list[Experiment]) -> dict[str, float]:
    """Return the bounds of the privacy budget, or nothing if an arm promises no privacy."""
    if not all(one.privacy.private for one in arms):
        return {}
    delta = max(one.privacy.delta for one in arms)
    plans = [plan for one in arms if (plan := privacy_asked_for(one))]
    spent = highest_epsilon([charge for plan in plans for charge in plan.budget.charges.items()], delta)
    return {"max_epsilon": math.ceil(100 * spent) / 100, "max_delta": delta}


def _measured(arms: list[Experiment]) -> dict[str, Any]:
    """Return what follows from the networks: their size, what leaves, and which parts never do."""
    numbers, sent, shared, parts = 0, set[UploadKind](), set[str](), dict[str, set[str]]()
    for experiment in arms:
        size, spec = size_and_spec(experiment, ImaginedData())
        numbers = max(numbers, size)
        arm = build_arm(experiment, spec)
        upload, kinds = largest_upload(arm)
        sent |= sizes_by_kind(upload, kinds).keys()
        shared |= upload.change.keys()
        for part in (*experiment.federation.personal, *arm.task.personal, *arm.algorithm.personal):
            parts[part] = parts.get(part, set()) | arm.runtime.model.personal_names([part])
    personal = tuple(part for part, names in parts.items() if not names & shared)
    upload_kinds = tuple(kind for kind in get_args(UploadKind) if kind in sent)
    most = _rounded(_MARGIN * numbers)
    bank = max(one.bank.capacity * one.adapter.token_dim for one in arms)
    megabytes = max(_LEAST_MEGABYTES, (most + bank) * _BYTES_A_NUMBER / 1e6)
    return {"parameters": most, "megabytes": megabytes, "upload": upload_kinds, "personal": personal}


def _union(arms: Iterable[Experiment], names: Callable[[Experiment], Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in arms for name in names(one)))


def _rounded(number: float) -> int:
    """Round up to two digits."""
    step: int = 10 ** max(0, len(str(int(number))) - 2)
    return -int(-number // step) * step
