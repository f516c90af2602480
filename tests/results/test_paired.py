from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import t as student

from omnifm.results.paired import Paired, compare_pairs, holm


def every_resample(pairs: np.ndarray) -> np.ndarray:
    """The mean of all resamples of rows and of columns, each as likely as any other."""
    rows, columns = (list(itertools.product(range(n), repeat=n)) for n in pairs.shape)
    return np.array([pairs[np.ix_(r, c)].mean() for r in rows for c in columns])


def evaluated(pairs: list[list[float]]) -> Paired:
    return compare_pairs(np.array(pairs, dtype=float))


def test_the_interval_against_every_resample() -> None:
    pairs = np.array([[0.1, 0.3, 0.2, 0.5], [0.0, 0.4, 0.1, 0.3], [0.2, 0.3, 0.2, 0.6]])
    result = evaluated(pairs.tolist())
    # By hand: variances of the means of seeds and of clients, with n - 1, and what they leave of freedom.
    seeds, clients = np.var([0.275, 0.2, 0.325], ddof=1) / 3, np.var([0.1, 1 / 3, 1 / 6, 1.4 / 3], ddof=1) / 4
    freedom = (seeds + clients) ** 2 / (seeds**2 / 2 + clients**2 / 3)
    assert freedom == pytest.approx(4.04, abs=0.01)
    wider = np.sqrt((seeds + clients) / (seeds * 2 / 3 + clients * 3 / 4))
    around = wider * (every_resample(pairs) - pairs.mean())
    low, high = pairs.mean() + student.ppf(0.975, freedom) / 1.96 * np.quantile(around, [0.025, 0.975])
    assert result.difference == pytest.approx(pairs.mean())
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.02)
    assert result.p == pytest.approx(2 * student.sf(pairs.mean() / around.std(), freedom), abs=0.001)


def test_no_difference_is_not_found() -> None:
    result = evaluated([[0.1, -0.1, 0.2, -0.2], [-0.1, 0.1, -0.2, 0.2]])
    assert result.difference == pytest.approx(0)
    assert result.p == pytest.approx(1)
    assert result.low < 0 < result.high


def test_the_same_arm_twice() -> None:
    assert evaluated([[0.0, 0.0], [0.0, 0.0]]) == Paired(0.0, 0.0, 0.0, 1.0)


def test_a_difference_without_spread() -> None:
    result = evaluated([[0.25, 0.25], [0.25, 0.25]])
    assert (result.low, result.high) == (0.25, 0.25)
    assert result.p == pytest.approx(0.0001, rel=0.01)


def test_a_clear_difference_is_found_and_turns_with_its_sign() -> None:
    pairs = [[0.30, 0.32, 0.28, 0.31], [0.29, 0.33, 0.30, 0.30], [0.31, 0.31, 0.29, 0.32]]
    result, other = evaluated(pairs), evaluated([[-value for value in row] for row in pairs])
    assert result.p < 0.01
    assert result.low > 0.25
    assert other.difference == pytest.approx(-result.difference)
    assert other.p == pytest.approx(result.p)


def test_one_pair_has_no_interval() -> None:
    for pairs in ([[0.5]], [[0.5, float("nan")]]):
        np.testing.assert_equal(evaluated(pairs), Paired(0.5, np.nan, np.nan, np.nan))
    np.testing.assert_equal(compare_pairs(np.full((3, 2), np.nan)), Paired(np.nan))


def test_one_seed_resamples_clients_and_one_client_seeds() -> None:
    clients, seeds = evaluated([[0.1, 0.2, 0.4]]), evaluated([[0.1], [0.2], [0.4]])
    # With one axis it is Student's test of three values: t = 2.646, two degrees of freedom.
    assert clients.p == pytest.approx(0.118, abs=0.003)
    assert seeds.p == pytest.approx(0.118, abs=0.003)


def test_missing_pairs_are_left_out() -> None:
    nan = float("nan")
    whole = evaluated([[0.1, 0.2, 0.4], [0.2, 0.2, 0.3]])
    assert evaluated([[0.1, 0.2, 0.4, nan], [nan] * 4, [0.2, 0.2, 0.3, nan]]) == whole
    assert evaluated([[0.1, 0.2], [nan, 0.3]]).difference == pytest.approx(0.2)


@pytest.mark.parametrize(("seed_effect", "client_effect"), [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_it_seldom_finds_what_is_not_there(seed_effect: float, client_effect: float) -> None:
    generator = np.random.default_rng(5)
    found, trials = 0, 300
    for _ in range(trials):
        pairs = 0.3 * generator.normal(size=(3, 5))
        pairs += seed_effect * generator.normal(size=(3, 1)) + client_effect * generator.normal(size=(1, 5))
        found += compare_pairs(pairs).p < 0.05
    assert found / trials < 0.09


def test_holm() -> None:
    # In order: 3 * 0.01, 2 * 0.03, and 1 * 0.04, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
