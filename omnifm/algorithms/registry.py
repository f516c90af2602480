"""The algorithms by name. A new algorithm is one file and one line here, or, outside, ``register_algorithm``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.centralised import Centralised
from omnifm.algorithms.composition import BuildContext, ComposingSettings
from omnifm.algorithms.ditto import Ditto
from omnifm.algorithms.fedadam import FedAdam
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.fedavgm import FedAvgM
from omnifm.algorithms.feddyn import FedDyn
from omnifm.algorithms.fedper import FedPer
from omnifm.algorithms.fedprox import FedProx
from omnifm.algorithms.fedrep import FedRep
from omnifm.algorithms.fedyogi import FedYogi
from omnifm.algorithms.gpfl import GPFL
from omnifm.algorithms.grouped import Grouped
from omnifm.algorithms.local import LocalSettings
from omnifm.algorithms.moon import Moon
from omnifm.algorithms.omnifm import OmniFMSettings
from omnifm.algorithms.scaffold import Scaffold
from omnifm.utils.registration import class_decorator

REFERENCES: dict[str, type] = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "fedavgm": FedAvgM,
    "fedadam": FedAdam,
    "fedyogi": FedYogi,
    "scaffold": Scaffold,
    "feddyn": FedDyn,
    "ditto": Ditto,
    "moon": Moon,
    "fedper": FedPer,
    "fedrep": FedRep,
    "gpfl": GPFL,
}
"""The algorithms that OmniFM is compared with and can build upon."""

ALGORITHM_SETTINGS: dict[str, type] = {
    **REFERENCES,
    "omnifm": OmniFMSettings,
    "local": LocalSettings,
    "grouped": Grouped,
    "centralised": Centralised,
}
"""The settings in each name's section of the experiment file. For most, the settings are the algorithm."""

Settings = TypeVar("Settings", bound=type[Algorithm] | type[ComposingSettings])


def register_algorithm(name: str) -> Callable[[Settings], Settings]:
    """Return a class decorator that makes an algorithm known by a name, for experiments and ``[name]`` in them.

    The class is a frozen dataclass whose fields, all with defaults, are its parameters: the algorithm itself, or
    settings that :meth:`~omnifm.algorithms.composition.ComposingSettings.build` it.

    Raises:
        ValueError: (from the decorator) the name is taken, or the class is not a dataclass.
    """
    return class_decorator(ALGORITHM_SETTINGS, name, "Algorithm")


def make_algorithm(name: str, context: BuildContext) -> Algorithm:
    """Build the algorithm called ``name``.

    Raises:
        ExperimentError: the base that it names cannot be built upon.
    """
    settings: Algorithm | ComposingSettings = context.sections[name]
    algorithm = settings if isinstance(settings, Algorithm) else settings.build(context)
    return algorithm.with_aggregator(context.aggregator)
