"""Server optimisers over any rounds of changes, against their papers' formulas in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from helpers import made_holdings
from hypothesis import assume, given
from hypothesis import strategies as st

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.fedadam import FedAdam
from omnifm.algorithms.fedavgm import FedAvgM
from omnifm.algorithms.fedyogi import FedYogi

fractions = st.sampled_from([0.0, 0.5, 0.9, 0.99])
changes = st.lists(st.one_of(st.none(), st.floats(-10, 10, width=32)), max_size=8)
"""The mean change of each round; in a round of None, no client holds the weight."""

Algorithm = FedAvgM | FedAdam
Step = Callable[[float, float, float], tuple[float, float, float]]
"""From the two moments and a change to the new moments and the step."""


def momentum(beta: float, eta: float) -> Step:
    def step(velocity: float, unused: float, change: float) -> tuple[float, float, float]:
        velocity = beta * velocity + change
        return velocity, unused, eta * velocity

    return step


def adaptive(beta1: float, beta2: float, tau: float, eta: float, yogi: bool) -> Step:
    def step(first: float, second: float, change: float) -> tuple[float, float, float]:
        first = beta1 * first + (1 - beta1) * change
        square = change**2
        if yogi:
            assume(not math.isclose(second, square, rel_tol=1e-3))  # where the sign jumps, rounding decides
            second -= (1 - beta2) * square * ((second > square) - (second < square))
        else:
            second = beta2 * second + (1 - beta2) * square
        return first, second, eta * first / (math.sqrt(second) + tau)

    return step


def played(algorithm: Algorithm, changes: list[float | None]) -> list[float]:
    """Return the weight after each round."""
    shared = {"w": torch.tensor([1.0]), "running_mean": torch.tensor([2.0])}
    state, found = algorithm.init(shared, ["w"], made_holdings(2)), []
    for change in changes:
        brought = {} if change is None else {"w": torch.tensor([change])}
        state = algorithm.server_step(state, Mean({**brought, "running_mean": torch.tensor([1.0])}, {}, 1))
        found.append(state.shared["w"].item())
    assert state.shared["running_mean"].item() == 2.0 + len(changes), "a statistic is averaged, whatever the optimiser"
    return found


def expected(step: Step, second: float, changes: list[float | None]) -> list[float]:
    weight, first, found = 1.0, 0.0, []
    for change in changes:
        if change is not None:
            first, second, moved = step(first, second, change)
            weight += moved
        found.append(weight)
    return found


@given(changes, fractions, st.sampled_from([0.1, 1.0]))
def test_momentum(changes: list[float | None], beta: float, eta: float) -> None:
    found = played(FedAvgM(beta, eta), changes)
    assert found == pytest.approx(expected(momentum(beta, eta), 0.0, changes), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("kind", [FedAdam, FedYogi])
@given(changes, fractions, fractions, st.sampled_from([1e-3, 0.1]))
def test_adaptive(kind: type[FedAdam], changes: list[float | None], beta1: float, beta2: float, tau: float) -> None:
    found = played(kind(beta1, beta2, tau, 0.01), changes)
    step = adaptive(beta1, beta2, tau, 0.01, kind is FedYogi)
    assert found == pytest.approx(expected(step, tau**2, changes), rel=1e-3, abs=1e-3)


@given(changes)
def test_an_adaptive_step_is_bounded(changes: list[float | None]) -> None:
    """Without momentum no step of Adam's is longer than eta over the root of what one change weighs."""
    weights = [1.0, *played(FedAdam(0.0, 0.99, 1e-3, 0.01), changes)]
    steps = [abs(after - before) for before, after in itertools.pairwise(weights)]
    assert max(steps, default=0.0) <= 0.01 / math.sqrt(1 - 0.99) + 1e-6
