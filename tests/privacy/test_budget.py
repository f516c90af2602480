"""All that leaves is paid for from one budget."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omnifm.privacy.accountant import epsilon_of
from omnifm.privacy.budget import POOLS, Planned, PrivacyBudget, make_budget
from omnifm.privacy.settings import PrivacySettings
from omnifm.training.private import Release

PLANNED = Planned(trainings=6, steps=10, prototypes=2, validations=4, tests=2)


def made(planned: Planned = PLANNED, **settings: float) -> PrivacyBudget:
    return make_budget(PrivacySettings(**settings), planned)  # type: ignore[arg-type]


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_every_split_costs_what_was_promised(epsilon: float) -> None:
    budget = made(epsilon=epsilon)
    assert budget.epsilon == pytest.approx(epsilon, rel=1e-3)
    for releases in POOLS.values():
        spent = epsilon_of([budget.charges[one] for one in releases], 1e-5)
        assert 0.99 * epsilon < spent <= epsilon * (1 + 1e-9)
    times = {release: charge.times for release, charge in budget.charges.items()}
    assert (times[Release.WEIGHTS], times[Release.PROTOTYPES], times[Release.VALIDATION_SCORES]) == (60, 2, 4)
    assert budget.one(Release.WEIGHTS).times == 10


def test_prototypes_are_paid_for_by_the_weights() -> None:
    without = made(replace(PLANNED, prototypes=0), epsilon=3.0)
    assert Release.PROTOTYPES not in without.charges
    assert without.noise(Release.WEIGHTS) < made(epsilon=3.0).noise(Release.WEIGHTS)


def test_from_the_noise_follows_epsilon() -> None:
    known = made(epsilon=3.0)
    found = made(noise_multiplier=known.noise(Release.WEIGHTS))
    assert found.noise(Release.WEIGHTS) == known.noise(Release.WEIGHTS)
    assert found.epsilon == pytest.approx(3.0, rel=0.1)
    assert found.noise(Release.PROTOTYPES) == pytest.approx(known.noise(Release.PROTOTYPES), rel=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 1.0, "noise_multiplier": 1.0}, "not both"),
        ({"noise_multiplier": 0.1}, "protects nobody"),
        ({"delta": 1.0}, "less than 1"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrivacySettings(**settings)  # type: ignore[arg-type]
