"""Federated learning of medical images across modalities and tasks: the public names, each imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnifm.algorithms.aggregation import Mean
    from omnifm.algorithms.algorithm import Algorithm
    from omnifm.algorithms.registry import register
    from omnifm.algorithms.state import Broadcast, ClientState, ServerState, Upload
    from omnifm.arm import Arm, make_arm
    from omnifm.data.cohort import Cohort, load_cohort
    from omnifm.errors import OmniFMError
    from omnifm.experiment import Experiment, Plan, make_plan, read_plan
    from omnifm.recipe import Recipe
    from omnifm.runs import open_run, play, reopen_run
    from omnifm.spectral import AdapterSettings, KnowledgeBank, SpectralAdapter
    from omnifm.training import Trainer

_HOMES = {
    "omnifm.algorithms.aggregation": ("Mean",),
    "omnifm.algorithms.algorithm": ("Algorithm",),
    "omnifm.algorithms.registry": ("register",),
    "omnifm.algorithms.state": ("Broadcast", "ClientState", "ServerState", "Upload"),
    "omnifm.arm": ("Arm", "make_arm"),
    "omnifm.data.cohort": ("Cohort", "load_cohort"),
    "omnifm.errors": ("OmniFMError",),
    "omnifm.experiment": ("Experiment", "Plan", "make_plan", "read_plan"),
    "omnifm.runs": ("open_run", "play", "reopen_run"),
    "omnifm.spectral": ("AdapterSettings", "KnowledgeBank", "SpectralAdapter"),
    "omnifm.recipe": ("Recipe",),
    "omnifm.training": ("Trainer",),
}

__all__ = [
    "AdapterSettings",
    "Algorithm",
    "Arm",
    "Broadcast",
    "ClientState",
    "Cohort",
    "Experiment",
    "KnowledgeBank",
    "Mean",
    "OmniFMError",
    "Plan",
    "Recipe",
    "ServerState",
    "SpectralAdapter",
    "Trainer",
    "Upload",
    "load_cohort",
    "make_arm",
    "make_plan",
    "open_run",
    "play",
    "read_plan",
    "register",
    "reopen_run",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'omnifm' has no attribute {name!r}")
