"""Uploads as integers: their sum is exact, their mean right up to a bound, and what has no room is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.aggregation.median import Median
from omnifm.algorithms.aggregation.summed_mean import SummedMean
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.centralised import Centralised
from omnifm.algorithms.composition import BuildContext
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.feddyn import FedDyn
from omnifm.algorithms.registry import ALGORITHM_SETTINGS, make_algorithm
from omnifm.config.experiment import ChecksSettings, make_experiment
from omnifm.core.records import Broadcast, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.federation.secure_sum import (
    LARGEST,
    MOST_CLIENTS,
    ONE,
    NotSummableError,
    Scale,
    SecureSum,
    SumLayout,
    least_in_sum,
    reason_against_size,
    reason_against_sums,
)
from omnifm.privacy.settings import PrivacySettings
from omnifm.utils.errors import RoundRefused

OPEN = ChecksSettings(max_norm=0.0)
SHARED = {"w": torch.tensor([1.0, -2.0]), "steps": torch.tensor(7)}
BROADCAST = Broadcast(1, SHARED)


def upload(client: str, samples: int, *values: float, steps: int = 9, loss: float = 0.5) -> Upload:
    return Upload(client, samples, loss, {"w": torch.tensor(values), "steps": torch.tensor(steps)})


def summed(uploads: list[Upload], algorithm: Algorithm | None = None, checks: ChecksSettings = OPEN) -> Upload:
    secure_sum = SecureSum(PrivacySettings(secure_aggregation=True), checks)
    samples = {one.client: one.samples for one in uploads}
    (total,) = secure_sum.unmasked(uploads, BROADCAST, algorithm or FedAvg(), samples)
    return total


THREE = [upload("A", 10, 0.5, -1.0), upload("B", 20, 1.0, 2.0, loss=1.0), upload("C", 10, 0.25, 1.0, steps=12)]


def test_it_is_the_weighted_mean() -> None:
    total = summed(THREE)
    assert torch.allclose(total.change["w"], torch.tensor([(5.0 + 20.0 + 2.5) / 40, (-10.0 + 40.0 + 10.0) / 40]))
    assert total.change["steps"] == torch.tensor(10)  # of 9, 9 and 12: 9.75
    assert total.change["steps"].dtype == torch.int64
    assert (total.samples, total.loss, total.notes) == (40, pytest.approx((5 + 20 + 5) / 40), {"clients": 3})


def test_equal_weights_stay_equal() -> None:
    total = summed(THREE, FedDyn())
    assert torch.allclose(total.change["w"], torch.tensor([1.75 / 3, 2.0 / 3]))
    state = replace(ServerState(SHARED), notes={"clients": 3})
    mean = FedDyn().with_aggregator(SummedMean()).aggregate([total])
    assert mean.clients == 3
    assert torch.equal(mean.change["w"], total.change["w"])
    assert state.notes["clients"] == 3


values = st.floats(-1000, 1000, width=32)


@given(st.lists(st.tuples(st.integers(2, 5000), values, values), min_size=3, max_size=12), st.randoms())
def test_the_difference_from_the_mean_is_bounded_and_the_order_is_none(
    clients: list[tuple[int, float, float]], chance: object
) -> None:
    uploads = [upload(str(n), samples, *pair) for n, (samples, *pair) in enumerate(clients)]
    total = summed(uploads, checks=ChecksSettings(max_norm=0.0, max_share=1.0))
    chance.shuffle(uploads)  # type: ignore[attr-defined]
    again = summed(uploads, checks=ChecksSettings(max_norm=0.0, max_share=1.0))
    assert torch.equal(total.change["w"], again.change["w"])
    assert total.loss == again.loss
    exact = WeightedMean().aggregate(uploads, FedAvg().weight).change["w"].double()
    largest = max(abs(number) for _, *pair in clients for number in pair)
    usual = np.mean([samples for samples, *_ in clients]) / max(samples for samples, *_ in clients)
    bound = (0.5 + largest) / ONE / usual + 2**-23 * largest  # the last part is float32's own
    assert (total.change["w"].double() - exact).abs().max() <= bound


def test_one_client_has_at_most_its_share() -> None:
    uploads = [upload("A", 900, 1.0, 0.0), upload("B", 50, 0.0, 0.0), upload("C", 50, 0.0, 0.0)]
    assert summed(uploads, checks=ChecksSettings(max_norm=0.0, max_share=0.5)).change["w"][0] == pytest.approx(0.5)
    assert summed(uploads, checks=ChecksSettings(max_norm=0.0, max_share=1.0)).change["w"][0] == pytest.approx(0.9)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -LARGEST * 1.01])
def test_what_has_no_room_is_told(number: float) -> None:
    with pytest.raises(NotSummableError, match=r"'change/w' holds a number that is not finite or beyond 1048576"):
        summed([upload("A", 10, 0.0, number), *THREE[1:]])
    with pytest.raises(NotSummableError, match="'loss' holds"):
        summed([upload("A", 10, 0.0, 0.0, loss=number), *THREE[1:]])


def test_the_largest_sum_does_not_overflow() -> None:
    layout, scale = SumLayout.of(FedAvg(), BROADCAST), Scale(10, 10.0)
    largest = layout.encode(upload("A", 10, float(LARGEST), -float(LARGEST)), FedAvg(), scale)
    total = layout.decode(largest * np.uint64(MOST_CLIENTS), MOST_CLIENTS)
    assert total.change["w"].tolist() == [LARGEST, -LARGEST]


def test_more_weight_than_was_agreed_is_not_taken() -> None:
    layout = SumLayout.of(FedAvg(), BROADCAST)
    for scale in (Scale(100, 9.0), Scale(100, -9.0), Scale(100, 50_000.0)):
        with pytest.raises(NotSummableError, match="not within 1/4096 and 1 of the heaviest's"):
            layout.encode(THREE[0], FedAvg(), scale)


def test_noise_is_no_sum() -> None:
    layout = SumLayout.of(FedAvg(), BROADCAST)
    with pytest.raises(RoundRefused, match="the masks have not cancelled out"):
        layout.decode(np.full(layout.size, 2**63 + 5, np.uint64), 3)


def test_two_are_too_few() -> None:
    with pytest.raises(RoundRefused, match="2 clients are fewer than the 3"):
        summed(THREE[:2])


def test_a_sum_is_over_more_than_two_thirds() -> None:
    assert [least_in_sum(3, clients) for clients in (3, 4, 5, 6, 9, 10)] == [3, 3, 4, 5, 7, 7]
    assert least_in_sum(8, 9) == 8
    assert reason_against_size(2, 3)
    assert reason_against_size(7, 8)
    assert reason_against_size(MOST_CLIENTS + 1, 3)
    assert not reason_against_size(3, 3)


@dataclass(frozen=True)
class ByLoss(FedAvg):
    def weight(self, upload: Upload) -> float:
        return upload.samples * upload.loss


@dataclass(frozen=True)
class OwnMessage(FedAvg):
    def message(self, state: ServerState, client: str) -> Tensors:
        return {"mine": torch.zeros(1)}


def test_what_is_not_summable_says_why() -> None:
    def reason(algorithm: Algorithm, **more: object) -> str:
        return reason_against_sums(algorithm, **{"aggregator": WeightedMean(), "checks": OPEN, **more})  # type: ignore

    assert reason(FedAvg()) == ""
    assert "aggregation.rule must be 'mean'" in reason(FedAvg(), aggregator=Median())
    assert "set checks.max_norm = 0" in reason(FedAvg(), checks=ChecksSettings())
    assert "weights clients by more than" in reason(ByLoss())
    assert "weights of its own" in reason(OwnMessage())


def test_which_algorithms_are_summable() -> None:
    experiment = make_experiment({})
    made: Mapping[str, Algorithm] = {
        name: make_algorithm(name, BuildContext(experiment.sections))
        for name in ALGORITHM_SETTINGS
        if not isinstance(experiment.sections[name], Centralised)
    }
    refused = {name for name, algorithm in made.items() if reason_against_sums(algorithm, WeightedMean(), OPEN)}
    assert refused == {"omnifm", "grouped"}
