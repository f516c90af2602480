"""Epsilon agrees with what others compute."""

from __future__ import annotations

import sys

import pytest

from omnifm.privacy.accountant import Charge, calibrated_noise, epsilon_of, gaussian_mu
from omnifm.utils.errors import ExperimentError

# sampling, noise multiplier, steps -> epsilon at delta = 1e-5 by the PRV accountant of Opacus 1.6.0
OPACUS = {(0.1, 2.4, 260): 3.0583, (0.05, 1.5, 1000): 5.5451, (0.02, 0.8, 5000): 15.3195}


@pytest.mark.parametrize(("mechanism", "epsilon"), OPACUS.items(), ids=str)
def test_it_agrees_with_opacus(mechanism: tuple[float, float, int], epsilon: float) -> None:
    sampling, noise, steps = mechanism
    found = epsilon_of([Charge(noise, sampling, steps)], 1e-5)
    assert found == pytest.approx(epsilon, rel=0.01)
    assert epsilon_of([Charge(noise, sampling, steps // 2)] * 2, 1e-5) == pytest.approx(found), "they are added up"


def test_gaussian_mechanisms_compose_exactly() -> None:
    # Balle and Wang (ICML 2018): sigma = 3.73 is (1, 1e-5)-private; four with twice the noise cost as much as one.
    assert epsilon_of([Charge(3.7304)], 1e-5) == pytest.approx(1.0, rel=1e-3)
    assert epsilon_of([Charge(2 * 3.7304, 1.0, 4)], 1e-5) == pytest.approx(1.0, rel=1e-3)
    assert 1 / gaussian_mu(1.0, 1e-5) == pytest.approx(3.7304, rel=1e-3)
    assert epsilon_of([], 1e-5) == 0.0


def test_calibration_meets_the_budget_from_below() -> None:
    others = [Charge(8.0, 1.0, 5)]
    noise = calibrated_noise(3.0, 1e-5, 0.1, 100, others)
    assert epsilon_of([Charge(noise, 0.1, 100), *others], 1e-5) <= 3.0
    assert epsilon_of([Charge(0.99 * noise, 0.1, 100), *others], 1e-5) > 3.0


def test_a_budget_that_is_spent_beforehand_cannot_be_met() -> None:
    with pytest.raises(ExperimentError, match=r"privacy\.epsilon = 0\.5 cannot be met with 100 training steps"):
        calibrated_noise(0.5, 1e-5, 0.1, 100, [Charge(1.0)])


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ExperimentError, match=r"pip install 'omnifm\[privacy\]'"):
        gaussian_mu(1.0, 1e-5)
