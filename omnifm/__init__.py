"""Federated learning of medical images across modalities and tasks: the public names, each imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omnifm.algorithms.aggregation.aggregator import Aggregator as Aggregator
    from omnifm.algorithms.aggregation.aggregator import Mean as Mean
    from omnifm.algorithms.aggregation.aggregator import TensorAggregator as TensorAggregator
    from omnifm.algorithms.aggregation.registry import register_aggregator as register_aggregator
    from omnifm.algorithms.algorithm import Algorithm as Algorithm
    from omnifm.algorithms.composition import BuildContext as BuildContext
    from omnifm.algorithms.kinds import Kind as Kind
    from omnifm.algorithms.registry import register_algorithm as register_algorithm
    from omnifm.callbacks.callback import Callback as Callback
    from omnifm.callbacks.callback import Stop as Stop
    from omnifm.callbacks.registry import register_callback as register_callback
    from omnifm.config.experiment import Experiment as Experiment
    from omnifm.config.experiment import Plan as Plan
    from omnifm.config.experiment import make_plan as make_plan
    from omnifm.config.experiment import read_plan as read_plan
    from omnifm.core.records import Broadcast as Broadcast
    from omnifm.core.records import ClientState as ClientState
    from omnifm.core.records import ServerState as ServerState
    from omnifm.core.records import Upload as Upload
    from omnifm.data.federated_dataset import FederatedDataset as FederatedDataset
    from omnifm.data.federated_dataset import load_dataset as load_dataset
    from omnifm.data.sources import register_source as register_source
    from omnifm.privacy.secret import ClientSecret as ClientSecret
    from omnifm.privacy.secret import private_generator as private_generator
    from omnifm.privacy.step import UploadStep as UploadStep
    from omnifm.runs.arm import Arm as Arm
    from omnifm.runs.arm import make_arm as make_arm
    from omnifm.runs.backend import Backend as Backend
    from omnifm.runs.backend import LocalBackend as LocalBackend
    from omnifm.runs.run import create as create
    from omnifm.runs.run import execute as execute
    from omnifm.runs.run import resume as resume
    from omnifm.spectral.adapter import AdapterSettings as AdapterSettings
    from omnifm.spectral.adapter import SpectralAdapter as SpectralAdapter
    from omnifm.spectral.bank import KnowledgeBank as KnowledgeBank
    from omnifm.tasks.registry import register_task as register_task
    from omnifm.training.hooks import LocalTraining as LocalTraining
    from omnifm.training.trainer import Trainer as Trainer
    from omnifm.utils.errors import OmniFMError as OmniFMError

_HOMES = {
    "algorithms.aggregation.aggregator": ("Aggregator", "Mean", "TensorAggregator"),
    "algorithms.aggregation.registry": ("register_aggregator",),
    "algorithms.algorithm": ("Algorithm",),
    "algorithms.composition": ("BuildContext",),
    "algorithms.kinds": ("Kind",),
    "algorithms.registry": ("register_algorithm",),
    "callbacks.callback": ("Callback", "Stop"),
    "callbacks.registry": ("register_callback",),
    "config.experiment": ("Experiment", "Plan", "make_plan", "read_plan"),
    "core.records": ("Broadcast", "ClientState", "ServerState", "Upload"),
    "data.federated_dataset": ("FederatedDataset", "load_dataset"),
    "data.sources": ("register_source",),
    "privacy.secret": ("ClientSecret", "private_generator"),
    "privacy.step": ("UploadStep",),
    "runs.arm": ("Arm", "make_arm"),
    "runs.backend": ("Backend", "LocalBackend"),
    "runs.run": ("create", "execute", "resume"),
    "spectral.adapter": ("AdapterSettings", "SpectralAdapter"),
    "spectral.bank": ("KnowledgeBank",),
    "tasks.registry": ("register_task",),
    "training.hooks": ("LocalTraining",),
    "training.trainer": ("Trainer",),
    "utils.errors": ("OmniFMError",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"omnifm.{_HOME[name]}"), name)
    raise AttributeError(f"module 'omnifm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_HOME]
