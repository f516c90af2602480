"""The algorithms by name. A new algorithm is one file and one line here, or, outside the package, ``register``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.centralised import Centralised
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
from omnifm.algorithms.local import Local, LocalSettings
from omnifm.algorithms.moon import Moon
from omnifm.algorithms.omnifm import OmniFM, OmniFMSettings
from omnifm.algorithms.scaffold import Scaffold
from omnifm.spectral.bank import BankSettings
from omnifm.utils.errors import ExperimentError, did_you_mean

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
"""The algorithms that OmniFM is compared with, and may build upon."""

SETTINGS: dict[str, type] = {
    **REFERENCES,
    "omnifm": OmniFMSettings,
    "local": LocalSettings,
    "centralised": Centralised,
}
"""What each name's section in the experiment file may hold. For most, the settings are the algorithm."""

_NO_BASE = ("centralised", "local", "omnifm")
Kind = TypeVar("Kind", bound=type[Algorithm])


def register(name: str) -> Callable[[Kind], Kind]:
    """Return a class decorator that makes an algorithm known by a name, for experiments and ``[name]`` in them.

    The class is a frozen dataclass whose fields, all with defaults, are its parameters.

    Raises:
        ValueError: the name is taken, or the class is no dataclass.
    """

    def known(kind: Kind) -> Kind:
        if name in SETTINGS:
            raise ValueError(f"An algorithm called {name!r} is there already; give yours another name.")
        if not dataclasses.is_dataclass(kind):
            raise ValueError(f"{kind.__name__} must be a dataclass: put @dataclass(frozen=True) below @register.")
        SETTINGS[name] = kind
        return kind

    return known


def make_algorithm(name: str, settings: Mapping[str, Any], bank: BankSettings) -> Algorithm:
    """Build the algorithm called ``name`` from the settings of all sections.

    Raises:
        ExperimentError: the base that OmniFM is asked to build upon is none.
    """
    chosen = settings[name]
    if isinstance(chosen, LocalSettings):
        return Local(bank)
    if not isinstance(chosen, OmniFMSettings):
        algorithm: Algorithm = chosen
        return algorithm
    bases = [base for base in SETTINGS if base not in _NO_BASE]
    if chosen.base not in bases:
        raise ExperimentError(
            f"omnifm.base = {chosen.base!r} is no algorithm to build upon. {did_you_mean(chosen.base, bases)}"
        )
    return OmniFM(make_algorithm(chosen.base, settings, bank), bank, chosen.personal, chosen.retrieve)
