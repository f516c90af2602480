"""The algorithms by name. A new algorithm is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.centralised import Centralised
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.local import Local, LocalSettings
from omnifm.algorithms.omnifm import OmniFM, OmniFMSettings
from omnifm.errors import ExperimentError, did_you_mean
from omnifm.spectral.bank import BankSettings

SETTINGS: dict[str, type] = {
    "centralised": Centralised,
    "fedavg": FedAvg,
    "local": LocalSettings,
    "omnifm": OmniFMSettings,
}
"""What each name's section in the experiment file may hold. For most, the settings are the algorithm."""

_NO_BASE = ("centralised", "local", "omnifm")


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
    return OmniFM(make_algorithm(chosen.base, settings, bank), bank, chosen.personal)
