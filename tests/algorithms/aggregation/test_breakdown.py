"""How many liars each rule survives, and that it breaks when there are more: on vectors whose honest mean is known."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from statistics import NormalDist

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
from omnifm.core.tensors import Tensors

CLIENTS, LENGTH, SPREAD = 11, 20, 0.1
RADIUS = SPREAD * LENGTH**0.5
"""How far an honest upload is from their common mean, of ones."""
NEAR, FAR = 3 * RADIUS, 8.0
"""A result that is as good as an honest upload's, and one that has lost the direction: the opposite is at 8.9."""

SURVIVED = [
    (WeightedMean(), 0, 1),
    (Median(), 5, 6),
    (TrimmedMean(0.3), 4, 5),
    (Krum(4), 4, 6),  # the fifth is not promised: alone the six honest are many enough
    (MultiKrum(4), 4, 5),
    (GeometricMedian(), 5, 6),
    (CentredClipping(), 5, 6),
]
"""Each rule with how many of eleven it survives, whatever they send, and how many in collusion break it."""

Attack = Callable[[Tensor, int, torch.Generator], Tensor]
"""What so many liars send, ``(liars, length)``, who know all honest uploads ``(honest, length)``."""


def sign_flip(honest: Tensor, liars: int, chance: torch.Generator) -> Tensor:
    return -honest.mean(dim=0).expand(liars, -1)


def scaling(honest: Tensor, liars: int, chance: torch.Generator) -> Tensor:
    return honest.mean(dim=0).expand(liars, -1) * -100


def noise(honest: Tensor, liars: int, chance: torch.Generator) -> Tensor:
    return torch.randn(liars, honest.shape[1], generator=chance) * 100


def collusion(honest: Tensor, liars: int, chance: torch.Generator) -> Tensor:
    return torch.full((liars, honest.shape[1]), -1000.0)


def a_little(honest: Tensor, liars: int, chance: torch.Generator) -> Tensor:
    """Baruch et al., A Little Is Enough, NeurIPS 2019: as far from the mean as still is among the honest."""
    needed = CLIENTS // 2 + 1 - liars
    z = NormalDist().inv_cdf(max(0.5, (len(honest) - needed) / len(honest)))
    return (honest.mean(dim=0) - z * honest.std(dim=0)).expand(liars, -1)


ATTACKS: list[Attack] = [sign_flip, scaling, noise, collusion, a_little]


def sent(attack: Attack, liars: int, seed: int = 0) -> list[Upload]:
    chance = torch.Generator().manual_seed(seed)
    honest = 1 + SPREAD * torch.randn(CLIENTS - liars, LENGTH, generator=chance)
    rows = torch.cat([attack(honest, liars, chance), honest]) if liars else honest
    order = torch.randperm(CLIENTS, generator=chance).tolist()
    # In two tensors, since a vector is what all of them are together.
    return [upload(place, {"a": rows[row, :7], "b": rows[row, 7:]}) for place, row in enumerate(order)]


def upload(client: object, change: Tensors) -> Upload:
    return Upload(str(client), 1, 0.0, change)


def error(rule: Aggregator, uploads: list[Upload]) -> float:
    found = rule.aggregate(uploads, lambda _: 1.0).change
    return float((torch.cat([found["a"], found["b"]]).double() - 1).norm())


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(("rule", "survived", "broken"), SURVIVED)
def test_it_survives_as_many_as_it_promises(rule: Aggregator, survived: int, broken: int, attack: Attack) -> None:
    for liars in range(survived + 1):
        for seed in range(3):
            assert error(rule, sent(attack, liars, seed)) < NEAR


@pytest.mark.parametrize(("rule", "survived", "broken"), SURVIVED)
def test_more_of_them_break_it(rule: Aggregator, survived: int, broken: int) -> None:
    for seed in range(3):
        assert error(rule, sent(collusion, broken, seed)) > FAR


@pytest.mark.parametrize("rule", [rule for rule, *_ in SURVIVED])
def test_without_liars_it_is_near_the_mean(rule: Aggregator) -> None:
    bound = 1.5 * RADIUS if isinstance(rule, Krum) and rule.kept(CLIENTS) == 1 else 0.6 * RADIUS
    assert error(rule, sent(collusion, 0)) < bound


def test_a_little_is_enough_to_move_all_that_survive_it() -> None:
    """No rule that looks at one round finds them; it moves each by a part of the spread, a bias that lasts."""
    for rule in (Median(), TrimmedMean(0.3), GeometricMedian(), CentredClipping()):
        honest = error(rule, sent(a_little, 0))
        assert honest < error(rule, sent(a_little, 4)) < 2 * RADIUS


def test_clipping_about_zero_bounds_what_any_number_can_do() -> None:
    rule = CentredClipping(radius=2.0, centre="zero")
    for liars in (1, 6, 10):
        found = rule.aggregate(sent(collusion, liars), lambda _: 1.0).change
        assert torch.cat(list(found.values())).norm() <= 2.0 + 1e-5


def in_circles(*values: float, size: int) -> list[Upload]:
    """Return uploads of circles of ``size`` clients, each with its circle's weights beside the shared ones."""
    return [upload(n, {"w": torch.ones(2), f"circle.{n // size}/w": torch.full((2,), v)}) for n, v in enumerate(values)]


def of_circle(rule: Aggregator, uploads: list[Upload]) -> float:
    found = rule.aggregate(uploads, lambda _: 1.0).change
    assert torch.allclose(found["w"], torch.ones(2))
    assert torch.allclose(found["circle.1/w"], torch.full((2,), 2.0), atol=0.11)
    return found["circle.0/w"][0].item()


WITHIN = [Median(), TrimmedMean(0.1), GeometricMedian(), CentredClipping()]
"""The rules that act within a circle as among all."""


@pytest.mark.parametrize("lie", [1e4, -1e4, 1.5])
@pytest.mark.parametrize("rule", WITHIN)
def test_a_circle_of_three_survives_one(rule: Aggregator, lie: float) -> None:
    assert 0.8 < of_circle(rule, in_circles(lie, 1.0, 1.1, 1.9, 2.0, 2.1, size=3)) < 1.3


@pytest.mark.parametrize("rule", WITHIN)
def test_a_circle_of_three_does_not_survive_two(rule: Aggregator) -> None:
    assert of_circle(rule, in_circles(1e4, 1e4, 1.0, 1.9, 2.0, 2.1, size=3)) > 1e3


@pytest.mark.parametrize("rule", WITHIN)
def test_a_circle_of_two_survives_none(rule: Aggregator) -> None:
    uploads = in_circles(1e4, 1.0, 2.0, 2.1, size=2)
    assert of_circle(rule, uploads) > 1e3


@pytest.mark.parametrize("rule", [WeightedMean(), Krum(1), MultiKrum(1)])
def test_the_mean_and_both_krums_protect_no_circle(rule: Aggregator) -> None:
    """Krum chooses among all clients, by what each has in common with the others: of a circle it takes any."""
    assert of_circle(rule, in_circles(1e4, 1.0, 1.1, 1.9, 2.0, 2.1, size=3)) > 1e3


@pytest.mark.parametrize("rule", [GeometricMedian(), CentredClipping()])
def test_large_control_variates_hide_no_lie_in_the_weights(rule: Aggregator) -> None:
    told = [(1.0, 0.0), (1.01, 1e6), (1.02, 2e6), (1.03, 3e6), (100.0, 1.5e6)]
    uploads = [
        Upload(str(n), 1, 0.0, {"w": torch.full((3,), w)}, {"c": torch.full((3,), c)}) for n, (w, c) in enumerate(told)
    ]
    assert rule.aggregate(uploads, lambda _: 1.0).change["w"].max() < 1.2


@pytest.mark.parametrize("rule", [GeometricMedian(), CentredClipping()])
def test_the_same_uploads_give_the_same_bits_and_another_order_nearly(rule: Aggregator) -> None:
    uploads = sent(noise, 4)
    once, again = (rule.aggregate(uploads, lambda _: 1.0).change for _ in range(2))
    turned = rule.aggregate(uploads[::-1], lambda _: 1.0).change
    for name, value in once.items():
        assert torch.equal(value, again[name])
        torch.testing.assert_close(value, turned[name])


def test_the_geometric_median_of_a_triangle() -> None:
    """Of the corners of one with equal sides it is the middle; of one with an angle over 120 degrees, that corner."""
    rule = GeometricMedian(iterations=500)
    for corners, expected in (
        ([[0.0, 0.0], [2.0, 0.0], [1.0, 3**0.5]], [1.0, 3**0.5 / 3]),
        ([[0.0, 0.0], [10.0, 0.0], [5.0, 0.5]], [5.0, 0.5]),
    ):
        uploads = [upload(n, {"w": torch.tensor(corner)}) for n, corner in enumerate(corners)]
        found = rule.aggregate(uploads, lambda _: 1.0).change["w"]
        assert found.tolist() == pytest.approx(expected, abs=1e-3)


def test_clipping_about_zero_lets_uploads_go_one_by_one() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def streaming() -> Iterator[Upload]:
        for number in range(5):
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1, "earlier uploads are still in memory"
            value = torch.full((4,), float(number))
            alive.append(weakref.ref(value))
            yield upload(number, {"w": value, "batches": torch.tensor(number)})
            del value

    found = CentredClipping(radius=2.0, centre="zero").aggregate(streaming(), lambda _: 1.0)
    # Norms of 0, 2, 4, 6, 8.
    assert found.change["w"].tolist() == pytest.approx([0.8] * 4)
    assert found.change["batches"].item() == 0
    assert found.clients == 5
