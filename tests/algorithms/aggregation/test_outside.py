"""An aggregator of a user's own, in a few lines, serves every algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from helpers import made_client, made_holdings, random_units, small_arm
from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import TensorAggregator
from omnifm.algorithms.aggregation.registry import AGGREGATORS, register_aggregator
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.fedadam import FedAdam
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.omnifm import OmniFM
from omnifm.algorithms.scaffold import Scaffold
from omnifm.core.records import ServerState, Upload
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.engines.in_process import InProcess
from omnifm.spectral.bank import BankSettings


@dataclass(frozen=True)
class LowerMedian(TensorAggregator):
    def combine(self, values: Tensor, weights: Tensor) -> Tensor:
        return values.median(dim=0).values


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register_aggregator("lower-median")(LowerMedian)
    yield
    del AGGREGATORS["lower-median"]


def after(algorithm: Algorithm, uploads: list[Upload], start: float = 10.0) -> ServerState:
    made = algorithm.with_aggregator(LowerMedian())
    return made.server_update(made.init({"w": torch.tensor([start])}, ["w"], made_holdings(6)), uploads)


def three(**extra: list[float]) -> list[Upload]:
    """Changes of 1, 2 and 600, the last by a client that claims a thousand samples."""
    told = (("a", 1, 1.0), ("b", 1, 2.0), ("c", 1000, 600.0))
    return [
        Upload(client, samples, 0.0, {"w": torch.tensor([w])}, {n: torch.tensor([v[at]]) for n, v in extra.items()})
        for at, (client, samples, w) in enumerate(told)
    ]


def test_under_fedavg() -> None:
    assert after(FedAvg(), three()).shared["w"].item() == 12.0


def test_under_fedadam() -> None:
    state = after(FedAdam(beta1=0.5, beta2=0.75, tau=1.0, eta=0.1), three())
    # m = 0.5 * 2, v = 0.75 * 1 + 0.25 * 4 = 1.75.
    assert state.memory["first/w"].item() == 1.0
    assert state.memory["second/w"].item() == pytest.approx(1.75)
    assert state.shared["w"].item() == pytest.approx(10 + 0.1 / (1.75**0.5 + 1))


def test_under_scaffold_the_control_variates_go_through_it_too() -> None:
    state = after(Scaffold(eta=0.5), three(**{"control/w": [-900.0, 4.0, 6.0]}))
    # Half the way of 2; three of six clients answered: half of 4.
    assert state.shared["w"].item() == 11.0
    assert state.memory["control/w"].item() == 2.0


def test_under_omnifm_the_base_uses_it_and_the_bank_is_as_ever() -> None:
    bank_uploads = random_units(3, 4)
    uploads = [
        Upload(
            u.client,
            u.samples,
            0.0,
            u.change,
            {
                "bank/prototypes": bank_uploads[at, None],
                "bank/sizes": torch.tensor([6]),
                "bank/rows": torch.zeros(0, dtype=torch.int32),
                "bank/counts": torch.zeros(0, dtype=torch.int32),
            },
            {"group": "CT"},
        )
        for at, u in enumerate(three())
    ]
    state = after(OmniFM(FedAvg(), BankSettings(merge_above=1.0)), uploads)
    assert state.shared["w"].item() == 12.0
    assert torch.equal(state.memory["bank.tokens"], bank_uploads)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("algorithm", ["fedavg", "fedadam", "scaffold", "omnifm"])
def test_in_a_run(algorithm: str, workers: int) -> None:
    dataset = FederatedDataset(
        tuple(made_client(name, name, (0, 1), n, 12) for n, name in enumerate("abc")), ("x", "y", "z")
    )
    changes: dict[str, Any] = {"aggregation": {"rule": "lower-median"}, "training": {"epochs": 1}}
    arm, plain = (small_arm(algorithm, dataset, **c) for c in (changes, {"training": {"epochs": 1}}))
    states = []
    for made in (arm, plain):
        start = made.start().server
        with InProcess(made.runtime, workers) as engine:
            uploads = engine.update(made.algorithm.broadcast(start), made.participants)
            states.append(made.algorithm.server_update(start, uploads))
    name = "network.head.bias"
    assert torch.isfinite(states[0].shared[name]).all()
    assert not torch.equal(states[0].shared[name], states[1].shared[name])
