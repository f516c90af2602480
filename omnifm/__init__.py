"""Federated learning of medical images across modalities and tasks: the public names, each imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnifm.algorithms.aggregation import Mean
    from omnifm.algorithms.algorithm import Algorithm
    from omnifm.algorithms.registry import register
    from omnifm.config.experiment import Experiment, Plan, make_plan, read_plan
    from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
    from omnifm.data.federated_dataset import FederatedDataset, load_dataset
    from omnifm.runs.arm import Arm, make_arm
    from omnifm.runs.run import create, execute, resume
    from omnifm.spectral import AdapterSettings, KnowledgeBank, SpectralAdapter
    from omnifm.training.hooks import LocalTraining
    from omnifm.training.trainer import Trainer
    from omnifm.utils.errors import OmniFMError

_HOMES = {
    "omnifm.algorithms.aggregation": ("Mean",),
    "omnifm.algorithms.algorithm": ("Algorithm",),
    "omnifm.algorithms.registry": ("register",),
    "omnifm.core.records": ("Broadcast", "ClientState", "ServerState", "Upload"),
    "omnifm.runs.arm": ("Arm", "make_arm"),
    "omnifm.data.federated_dataset": ("Cohort", "load_cohort"),
    "omnifm.utils.errors": ("OmniFMError",),
    "omnifm.config.experiment": ("Experiment", "Plan", "make_plan", "read_plan"),
    "omnifm.runs.run": ("create", "execute", "resume"),
    "omnifm.spectral": ("AdapterSettings", "KnowledgeBank", "SpectralAdapter"),
    "omnifm.training.hooks": ("Recipe",),
    "omnifm.training.trainer": ("Trainer",),
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
    "create",
    "load_cohort",
    "make_arm",
    "make_plan",
    "play",
    "read_plan",
    "register",
    "resume",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'omnifm' has no attribute {name!r}")
