from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from helpers import small_arm, small_experiment

from omnifm.algorithms.aggregation.aggregator import Aggregator
from omnifm.algorithms.aggregation.krum import Krum
from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.aggregation.registry import AGGREGATORS, make_aggregator, register_aggregator
from omnifm.algorithms.aggregation.trimmed_mean import TrimmedMean
from omnifm.config.experiment import make_experiment, to_document
from omnifm.utils.errors import ExperimentError, IncompatibleError


@pytest.mark.parametrize(
    ("given", "filled", "made"),
    [
        ({}, {"rule": "mean"}, WeightedMean()),
        ({"rule": "krum", "malicious": 2}, {"rule": "krum", "malicious": 2}, Krum(2)),
        ({"rule": "trimmed-mean"}, {"rule": "trimmed-mean", "trim": 0.1}, TrimmedMean(0.1)),
    ],
)
def test_the_rule_of_an_experiment(given: dict[str, Any], filled: dict[str, Any], made: Aggregator) -> None:
    experiment = small_experiment("fedavg", aggregation=given)
    assert experiment.aggregation == filled
    assert make_aggregator(experiment.aggregation) == made
    assert make_experiment(to_document(experiment)) == experiment


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "medain"}, r"Unknown aggregation.rule 'medain'. Did you mean 'median'\?"),
        ({"rule": ["mean"]}, r"Unknown aggregation.rule \['mean'\]"),
        ({"rule": "trimmed-mean", "trimm": 0.1}, r"Unknown key 'aggregation.trimm'. Did you mean 'trim'\?"),
        ({"rule": "median", "trim": 0.1}, r"Unknown key 'aggregation.trim'"),
        ({"rule": "trimmed-mean", "trim": 0.5}, r"aggregation.trim: must be below 0.5"),
        ({"rule": "krum", "malicious": 0}, r"aggregation.malicious"),
    ],
)
def test_a_mistake_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        small_experiment("fedavg", aggregation=given)


def test_a_rule_that_the_number_of_clients_does_not_allow_is_refused() -> None:
    with pytest.raises(
        IncompatibleError, match=r"aggregation.rule = 'krum': .* at least 5 clients a round, and there are 3"
    ):
        small_arm("fedavg", aggregation={"rule": "krum"})
    small_arm("centralised", aggregation={"rule": "krum"})


@pytest.mark.parametrize("algorithm", ["scaffold", "feddyn", "omnifm"])
def test_one_clients_upload_is_no_mean(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Krum, "reject_reason", lambda self, clients: "")
    with pytest.raises(IncompatibleError, match=rf"'{algorithm}' needs the mean over the clients"):
        small_arm(algorithm, omnifm={"base": "scaffold"}, aggregation={"rule": "krum"})
    small_arm(algorithm, omnifm={"base": "scaffold"}, aggregation={"rule": "multi-krum"})
    small_arm("fedavg", aggregation={"rule": "krum"})


@pytest.fixture
def clean() -> Iterator[None]:
    """Forget what a test has registered."""
    before = dict(AGGREGATORS)
    yield
    AGGREGATORS.clear()
    AGGREGATORS.update(before)


@pytest.mark.usefixtures("clean")
def test_a_users_rule_is_in_an_experiment() -> None:
    @register_aggregator("half")
    @dataclass(frozen=True)
    class Half(WeightedMean):
        share: float = 0.5

    arm = small_arm("fedavg", aggregation={"rule": "half", "share": 0.25})
    assert arm.algorithm.aggregator == Half(0.25)
    with pytest.raises(ValueError, match="Aggregator 'half' exists already"):
        register_aggregator("half")(Half)
    with pytest.raises(ExperimentError, match=r"aggregation\.share"):
        small_experiment("fedavg", aggregation={"rule": "half", "share": "much"})
