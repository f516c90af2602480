from __future__ import annotations

import pytest

from omnifm.algorithms.centralised import Centralised
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.local import Local
from omnifm.algorithms.omnifm import OmniFM, OmniFMSettings
from omnifm.algorithms.registry import SETTINGS, make_algorithm
from omnifm.errors import ExperimentError
from omnifm.spectral.bank import BankSettings

BANK = BankSettings(capacity=7)
DEFAULTS = {name: kind() for name, kind in SETTINGS.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fedavg", FedAvg()),
        ("centralised", Centralised()),
        ("local", Local(BANK)),
        ("omnifm", OmniFM(FedAvg(), BANK, ("backbone",))),
    ],
)
def test_made_by_name(name: str, expected: object) -> None:
    assert make_algorithm(name, DEFAULTS, BANK) == expected


@pytest.mark.parametrize("base", ["local", "omnifm", "centralised", "scafold"])
def test_a_base_must_be_an_algorithm_to_build_upon(base: str) -> None:
    settings = {**DEFAULTS, "omnifm": OmniFMSettings(base)}
    with pytest.raises(ExperimentError, match=rf"omnifm\.base = '{base}' is no algorithm to build upon"):
        make_algorithm("omnifm", settings, BANK)


def test_a_mistyped_base_is_suggested() -> None:
    settings = {**DEFAULTS, "omnifm": OmniFMSettings("fedvag")}
    with pytest.raises(ExperimentError, match=r"Did you mean 'fedavg'\?"):
        make_algorithm("omnifm", settings, BANK)
