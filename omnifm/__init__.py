"""Federated learning of medical images across modalities and tasks: the public names, each imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnifm.algorithms.aggregation.aggregator import Aggregator, Mean, TensorAggregator
    from omnifm.algorithms.aggregation.registry import register_aggregator
    from omnifm.algorithms.algorithm import Algorithm
    from omnifm.algorithms.composition import BuildContext
    from omnifm.algorithms.kinds import Kind
    from omnifm.algorithms.registry import register
    from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
    from omnifm.data.federated_dataset import FederatedDataset, load_dataset
    from omnifm.experiment import Experiment, Plan, make_plan, read_plan
    from omnifm.privacy.secret import ClientSecret, private_generator
    from omnifm.privacy.step import UploadStep
    from omnifm.runs.arm import Arm, make_arm
    from omnifm.runs.run import create, execute, resume
    from omnifm.spectral import AdapterSettings, KnowledgeBank, SpectralAdapter
    from omnifm.training.hooks import LocalTraining
    from omnifm.training.trainer import Trainer
    from omnifm.utils.errors import OmniFMError

_HOMES = {
    "omnifm.algorithms.aggregation.aggregator": ("Aggregator", "Mean", "TensorAggregator"),
    "omnifm.algorithms.aggregation.registry": ("register_aggregator",),
    "omnifm.algorithms.algorithm": ("Algorithm",),
    "omnifm.algorithms.composition": ("BuildContext",),
    "omnifm.algorithms.kinds": ("Kind",),
    "omnifm.algorithms.registry": ("register",),
    "omnifm.core.records": ("Broadcast", "ClientState", "ServerState", "Upload"),
    "omnifm.runs.arm": ("Arm", "make_arm"),
    "omnifm.data.federated_dataset": ("Cohort", "load_cohort"),
    "omnifm.utils.errors": ("OmniFMError",),
    "omnifm.experiment": ("Experiment", "Plan", "make_plan", "read_plan"),
    "omnifm.privacy.secret": ("ClientSecret", "private_generator"),
    "omnifm.privacy.step": ("UploadStep",),
    "omnifm.runs.run": ("create", "execute", "resume"),
    "omnifm.spectral": ("AdapterSettings", "KnowledgeBank", "SpectralAdapter"),
    "omnifm.training.hooks": ("Recipe",),
    "omnifm.training.trainer": ("Trainer",),
}

__all__ = [
    "AdapterSettings",
    "Aggregator",
    "Algorithm",
    "Arm",
    "Broadcast",
    "BuildContext",
    "ClientSecret",
    "ClientState",
    "Cohort",
    "Experiment",
    "Kind",
    "KnowledgeBank",
    "Mean",
    "OmniFMError",
    "Plan",
    "Recipe",
    "ServerState",
    "SpectralAdapter",
    "TensorAggregator",
    "Trainer",
    "Upload",
    "UploadStep",
    "create",
    "load_cohort",
    "make_arm",
    "make_plan",
    "play",
    "private_generator",
    "read_plan",
    "register",
    "register_aggregator",
    "resume",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'omnifm' has no attribute {name!r}")
