"""The robust rules by hand, and one client's lie under each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import Aggregator
from omnifm.algorithms.aggregation.centred_clipping import CentredClipping
from omnifm.algorithms.aggregation.geometric_median import GeometricMedian
from omnifm.algorithms.aggregation.krum import Krum, MultiKrum
from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.aggregation.median import Median
from omnifm.algorithms.aggregation.trimmed_mean import TrimmedMean
from omnifm.core.records import Upload

ROBUST = [Median(), TrimmedMean(0.2), Krum(1), MultiKrum(1), GeometricMedian(), CentredClipping()]


def upload(client: object, change: dict[str, list[float]], extra: dict[str, list[float]] | None = None) -> Upload:
    def tensors(values: dict[str, list[float]]) -> dict[str, Tensor]:
        return {name: torch.tensor(value) for name, value in values.items()}

    return Upload(str(client), 1, 0.0, tensors(change), tensors(extra or {}))


def by_samples(upload: Upload) -> float:
    return float(upload.samples)


def combined(rule: Aggregator, *values: float) -> float:
    uploads = [upload(number, {"w": [value]}) for number, value in enumerate(values)]
    mean = rule.aggregate(uploads, by_samples)
    assert mean.clients == len(values)
    assert mean.change["w"].dtype == torch.float32
    return mean.change["w"].item()


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        (Median(), (9.0, 1.0, 2.0), 2.0),
        (Median(), (9.0, 1.0, 2.0, 4.0), 3.0),
        (Median(), (7.0,), 7.0),
        (Median(), (7.0, 8.0), 7.5),
        # One at each end: (2 + 4) / 2.
        (TrimmedMean(0.1), (9.0, 1.0, 2.0, 4.0), 3.0),
        # A fifth of ten is two: (3 + ... + 8) / 6.
        (TrimmedMean(0.2), tuple(float(n) for n in range(1, 11)), 5.5),
        (TrimmedMean(0.2), (0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 4.0, 6.0, 100.0, 100.0), 14 / 6),
        # However much is to be trimmed, something is left.
        (TrimmedMean(0.49), (1.0, 5.0), 3.0),
        (TrimmedMean(0.49), (1.0, 5.0, 6.0), 5.0),
        # Two neighbours count: 1 + 9 for 0, 1 + 4 for 1, 4 + 9 for 3, 4 + 49 for 10, 4 + 81 for 12.
        (Krum(1), (0.0, 1.0, 3.0, 10.0, 12.0), 1.0),
        # The furthest, 13, is left out: (0 + 1 + 3 + 10) / 4.
        (MultiKrum(1), (0.0, 1.0, 3.0, 10.0, 13.0), 3.5),
        # In one dimension the geometric median is the median, if there is one.
        (GeometricMedian(), (1.0, 2.0, 9.0), 2.0),
        (GeometricMedian(), (7.0,), 7.0),
        # One step from the median 2, at distances 1, 0 and 7 from the values, as good as stays there.
        (GeometricMedian(iterations=1, smoothing=1.0), (1.0, 2.0, 9.0), (1 + 2 + 9 / 7) / (2 + 1 / 7)),
        # The centre is 2, the distances 0, 1, 1, 2, 98, the radius 1: (-1 - 1 + 0 + 1 + 1) / 5 from there.
        (CentredClipping(), (0.0, 1.0, 2.0, 3.0, 100.0), 2.0),
        # All are within the radius: their mean, from whatever centre.
        (CentredClipping(radius=10.0), (0.0, 1.0, 2.0, 3.0, 10.0), 3.2),
        (CentredClipping(radius=4.0), (0.0, 1.0, 2.0, 3.0, 10.0), 2.4),
        # Again, from 2.4: (-2.4 - 1.4 - 0.4 + 0.6 + 4) / 5 further.
        (CentredClipping(radius=4.0, iterations=2), (0.0, 1.0, 2.0, 3.0, 10.0), 2.48),
        (CentredClipping(radius=1.0, centre="zero"), (0.5, -3.0, 4.0), 0.5 / 3),
        # The median norm is 3.
        (CentredClipping(centre="zero"), (0.5, -3.0, 4.0), 0.5 / 3),
        (CentredClipping(), (7.0,), 7.0),
        (Krum(1), (7.0,), 7.0),
        (Krum(3), (7.0, 8.0), 7.0),
        (MultiKrum(3), (7.0, 8.0), 7.0),
    ],
)
def test_by_hand(rule: Aggregator, values: tuple[float, ...], expected: float) -> None:
    assert combined(rule, *values) == pytest.approx(expected)


@pytest.mark.parametrize("rule", ROBUST)
@pytest.mark.parametrize("lie", [1e6, -1e6])
@pytest.mark.parametrize("place", range(5))
def test_one_lie_of_five_moves_it_little(rule: Aggregator, lie: float, place: int) -> None:
    values = [1.0, 1.1, 1.2, 1.3, 1.4]
    values[place] = lie
    assert 1.0 <= combined(rule, *values) <= 1.4
    assert abs(combined(WeightedMean(), *values)) > 1e5


@pytest.mark.parametrize("rule", ROBUST)
def test_coordinates_and_names_each_over_those_who_hold_them(rule: Aggregator) -> None:
    uploads = [upload(n, {"w": [1.0, 2.0], **({"head": [5.0]} if n in (3, 4) else {})}) for n in range(5)]
    mean = rule.aggregate(uploads, by_samples)
    assert {name: value.tolist() for name, value in mean.change.items()} == {"w": [1.0, 2.0], "head": [5.0]}


@pytest.mark.parametrize("rule", ROBUST)
def test_a_lie_in_what_is_sent_beside_the_weights_is_found_too(rule: Aggregator) -> None:
    uploads = [upload(n, {"w": [0.1 * n]}, {"control": [1e6 if n == 2 else 1.0]}) for n in range(5)]
    assert rule.aggregate(uploads, by_samples).extra["control"].item() == pytest.approx(1.0)


@pytest.mark.parametrize("rule", [*ROBUST, WeightedMean()])
def test_counters_keep_one_clients_value(rule: Aggregator) -> None:
    uploads = [Upload(str(n), 1, 0.0, {"w": torch.ones(1), "batches": torch.tensor(10 + n)}) for n in range(5)]
    assert rule.aggregate(uploads, by_samples).change["batches"].item() == 10


@pytest.mark.parametrize("rule", [*ROBUST, WeightedMean()])
def test_no_uploads_are_no_change(rule: Aggregator) -> None:
    assert rule.aggregate([], by_samples) == ({}, {}, 0)


@pytest.mark.parametrize("rule", ROBUST)
def test_what_it_was_given_stays_as_it_was(rule: Aggregator) -> None:
    uploads = [upload(n, {"w": [float(n)]}) for n in (3, 1, 2)]
    rule.aggregate(uploads, by_samples).change["w"].add_(9.0)
    assert [one.change["w"].item() for one in uploads] == [3.0, 1.0, 2.0]


def test_krum_needs_enough_clients() -> None:
    assert Krum(1).reject_reason(5) == ""
    assert "with malicious = 1 it needs at least 5 clients a round, and there are 4" in Krum(1).reject_reason(4)
    assert "at least 7" in MultiKrum(2).reject_reason(6)
    assert Median().reject_reason(1) == ""


def test_an_upload_that_shares_no_tensor_is_near_to_none() -> None:
    """Members of different circles may have nothing in common: that makes nobody's upload the best."""
    apart = [upload(name, {f"circle.{name}": [value]}) for name, value in (("a", 1.0), ("b", 1e6))]
    together = [upload(number, {"w": [0.1 * number]}) for number in range(3)]
    change = Krum(1).aggregate([*apart, *together], by_samples).change
    assert change["w"].tolist() == pytest.approx([0.1])
