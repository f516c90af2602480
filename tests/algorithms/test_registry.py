from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from helpers import same, small_arm, small_experiment

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.aggregation.median import Median
from omnifm.algorithms.algorithm import Algorithm, OnMean, unchanged
from omnifm.algorithms.centralised import Centralised
from omnifm.algorithms.composition import BuildContext, ComposedAlgorithm
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
from omnifm.algorithms.local import Local
from omnifm.algorithms.moon import Moon
from omnifm.algorithms.omnifm import OmniFM, OmniFMSettings
from omnifm.algorithms.registry import ALGORITHM_SETTINGS, REFERENCES, make_algorithm, register_algorithm
from omnifm.algorithms.scaffold import Scaffold
from omnifm.core.records import ClientState, ServerState, Upload
from omnifm.core.tensors import apply
from omnifm.spectral.bank import BankSettings
from omnifm.utils.errors import ExperimentError

BANK = BankSettings(capacity=7)
DEFAULTS = {name: kind() for name, kind in ALGORITHM_SETTINGS.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fedavg", FedAvg()),
        ("centralised", Centralised()),
        ("local", Local(BANK)),
        ("omnifm", OmniFM(FedAvg(), BANK, ("statistics",), ("backbone",), "bank")),
        ("grouped", Grouped()),
        ("fedprox", FedProx()),
        ("fedavgm", FedAvgM()),
        ("fedadam", FedAdam()),
        ("fedyogi", FedYogi()),
        ("scaffold", Scaffold()),
        ("feddyn", FedDyn()),
        ("ditto", Ditto()),
        ("moon", Moon()),
        ("fedper", FedPer()),
        ("fedrep", FedRep()),
        ("gpfl", GPFL()),
    ],
)
def test_made_by_name(name: str, expected: object) -> None:
    assert make_algorithm(name, BuildContext(DEFAULTS, BANK)) == expected


@pytest.mark.parametrize("base", ["local", "omnifm", "centralised", "grouped", "scafold"])
def test_a_base_must_be_an_algorithm_to_build_upon(base: str) -> None:
    settings = {**DEFAULTS, "omnifm": OmniFMSettings(base)}
    with pytest.raises(ExperimentError, match=rf"omnifm\.base = '{base}' is not an algorithm to build upon"):
        make_algorithm("omnifm", BuildContext(settings, BANK))


def test_a_mistyped_base_is_suggested() -> None:
    settings = {**DEFAULTS, "omnifm": OmniFMSettings("fedvag")}
    with pytest.raises(ExperimentError, match=r"Did you mean 'fedavg'\?"):
        make_algorithm("omnifm", BuildContext(settings, BANK))


def test_all_names_are_known() -> None:
    assert ALGORITHM_SETTINGS.keys() == REFERENCES.keys() | {"omnifm", "local", "grouped", "centralised"}
    assert len(REFERENCES) == 12


@pytest.mark.parametrize("base", REFERENCES)
def test_omnifm_builds_upon_every_reference(base: str) -> None:
    settings = {**DEFAULTS, "omnifm": OmniFMSettings(base, personal=("norm",), circles="group", retrieve="own")}
    made = make_algorithm("omnifm", BuildContext(settings, BANK))
    expected = make_algorithm(base, BuildContext(DEFAULTS, BANK))
    assert made == OmniFM(expected, BANK, ("norm",), ("backbone",), "group", "own")
    assert made.personal == (*expected.personal, "norm")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("moon", {"temperature": 0.0}),
        ("moon", {"mu": -1.0}),
        ("moon", {"projection": 0}),
        ("gpfl", {"lam": -0.1}),
        ("fedrep", {"head_epochs": 0}),
        ("fedrep", {"head_epoch": 1}),
    ],
)
def test_settings_are_held_to_their_ranges(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ExperimentError, match=f"{name}.{next(iter(settings))}"):
        small_experiment(name, **{name: settings})


@pytest.fixture
def clean() -> Iterator[None]:
    """Forget what a test has registered."""
    before = dict(ALGORITHM_SETTINGS)
    yield
    ALGORITHM_SETTINGS.clear()
    ALGORITHM_SETTINGS.update(before)


def known() -> type[Algorithm]:
    @register_algorithm("lazy")
    @dataclass(frozen=True)
    class Lazy(Algorithm):
        """Goes only a share of the way."""

        share: float = 0.5

        def server_step(self, state: ServerState, mean: Mean) -> ServerState:
            way = {name: self.share * v if v.is_floating_point() else v for name, v in mean.change.items()}
            return replace(state, shared=apply(state.shared, way))

    return Lazy


@pytest.mark.usefixtures("clean")
def test_a_users_algorithm_is_in_an_experiment() -> None:
    kind = known()
    arms = [small_arm("lazy", lazy={"share": share}) for share in (1.0, 0.25)]
    assert arms[1].algorithm == kind(0.25)  # type: ignore[call-arg]
    ends = []
    for arm in (small_arm("fedavg"), *arms):
        start = arm.start().server
        upload, _ = arm.runtime.update(arm.algorithm.broadcast(start), "MRI", ClientState())
        ends.append(arm.algorithm.server_update(start, [upload]).shared)
    assert same(ends[0], ends[1])
    name = "network.head.weight"
    way = [end[name] - arms[0].runtime.initial[name] for end in ends]
    torch.testing.assert_close(way[2], 0.25 * way[0])


@pytest.mark.usefixtures("clean")
def test_a_users_algorithm_is_checked_and_may_be_a_base() -> None:
    known()
    with pytest.raises(ExperimentError, match=r"lazy\.share"):
        small_experiment("lazy", lazy={"share": "half"})
    with pytest.raises(ExperimentError, match=r"algorithm: unknown name 'lazzy'\. Did you mean 'lazy'\?"):
        small_experiment("lazzy")
    arm = small_arm("omnifm", omnifm={"base": "lazy"}, lazy={"share": 0.75})
    assert isinstance(arm.algorithm, OmniFM)
    assert arm.algorithm.base == ALGORITHM_SETTINGS["lazy"](0.75)


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("name", ["fedavg", "omnifm", "local", "lazy"])
def test_a_name_is_taken_once(name: str) -> None:
    known()
    before = dict(ALGORITHM_SETTINGS)
    with pytest.raises(ValueError, match=f"Algorithm '{name}' exists already"):
        register_algorithm(name)(FedAvg)
    assert before == ALGORITHM_SETTINGS


@pytest.mark.usefixtures("clean")
def test_an_algorithm_without_settings_of_its_own_must_be_a_dataclass() -> None:
    class Plain(Algorithm):
        pass

    with pytest.raises(ValueError, match=r"Plain must be a dataclass: put @dataclass directly above it"):
        register_algorithm("plain")(Plain)
    assert "plain" not in ALGORITHM_SETTINGS


@dataclass(frozen=True)
class Twice(ComposedAlgorithm):
    """Its base's round with the mean counted twice, by an outsider."""

    base: Algorithm

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        def twice(mean: Mean) -> Mean:
            return on_mean(mean._replace(change={name: 2 * value for name, value in mean.change.items()}))

        return super().server_update(state, uploads, twice)


@pytest.mark.usefixtures("clean")
def test_an_outsider_may_compose_algorithms() -> None:
    @register_algorithm("twice")
    @dataclass(frozen=True)
    class TwiceSettings:
        base: str = "fedavg"

        def build(self, context: BuildContext) -> Algorithm:
            return Twice(context.base(self.base, "twice.base"))

    arm = small_arm("twice", twice={"base": "fedadam"}, fedadam={"eta": 0.5}, aggregation={"rule": "median"})
    assert arm.algorithm == Twice(FedAdam(eta=0.5))
    assert isinstance(arm.algorithm, Twice)
    assert isinstance(arm.algorithm.base.aggregator, Median)
    with pytest.raises(ExperimentError, match=r"twice\.base = 'omnifm' is not an algorithm to build upon"):
        small_arm("twice", twice={"base": "omnifm"})


@pytest.mark.parametrize("name", ["fedavg", "fedadam", "local", "omnifm"])
def test_the_aggregator_of_the_experiment_is_used(name: str) -> None:
    made = make_algorithm(name, BuildContext(DEFAULTS, BANK, Median()))
    assert isinstance((made.base if isinstance(made, OmniFM) else made).aggregator, Median)
    assert made == make_algorithm(name, BuildContext(DEFAULTS, BANK)), "it is no setting of the algorithm"
