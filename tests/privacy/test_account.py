"""A budget that is spent stays spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnifm.privacy.account import EpsilonLimit, PrivacyAccount
from omnifm.privacy.budget import Planned, PrivacyBudget, make_budget
from omnifm.privacy.settings import PrivacySettings
from omnifm.training.private import Release
from omnifm.utils.errors import CheckpointError, PrivacyBudgetError

WEIGHTS, SCORES = {Release.WEIGHTS: 1}, {Release.TEST_SCORES: 1}


def budget(epsilon: float = 3.0) -> PrivacyBudget:
    planned = Planned(trainings=2, steps=10, prototypes=0, validations=1, tests=1)
    return make_budget(PrivacySettings(epsilon=epsilon), planned)


@pytest.mark.parametrize("stored", [True, False])
def test_the_same_again_costs_nothing_and_more_is_refused(stored: bool, tmp_path: Path) -> None:
    account = PrivacyAccount(tmp_path / "privacy.json" if stored else None)
    assert account.spent(1e-5) == 0
    account.claim("arm", "a", WEIGHTS, budget())
    once = account.spent(1e-5)
    assert 0 < once < 3
    account.claim("arm", "a", WEIGHTS, budget())
    assert account.spent(1e-5) == once
    account.claim("arm", "b", WEIGHTS, budget())
    assert once < account.spent(1e-5) <= 3
    if stored:
        account = PrivacyAccount(tmp_path / "privacy.json")
    with pytest.raises(PrivacyBudgetError, match="budget of the run is spent: 30 releases of weights are more than"):
        account.claim("arm", "c", WEIGHTS, budget())
    account.claim("arm", "b", WEIGHTS, budget())
    account.claim("other arm", "c", WEIGHTS, budget())
    assert account.spent(1e-5, "arm") < account.spent(1e-5)


def test_other_patients_do_not_pay() -> None:
    account = PrivacyAccount()
    account.claim("arm", "a", WEIGHTS, budget())
    before = account.spent(1e-5)
    account.claim("arm", "a", SCORES, budget())
    assert max(before, 2.7) < account.spent(1e-5) <= 3, "the test patients have paid all but a tenth of their own"


def test_a_limit_bounds_all_runs_together_before_they_begin(tmp_path: Path) -> None:
    account = PrivacyAccount(tmp_path / "privacy.json", EpsilonLimit(3.5, 1e-5))
    account.claim("one", "a", WEIGHTS, budget())
    account.claim("one", "b", WEIGHTS, budget())
    with pytest.raises(
        PrivacyBudgetError, match=r"the run costs 3, and together they are [34]\.\d+, above policy\.max_eps"
    ):
        account.claim("two", "a", WEIGHTS, budget())
    assert account.spent(1e-5) == account.spent(1e-5, "one"), "what was refused was not written down"
    account.claim("small", "a", WEIGHTS, budget(1.0))


@pytest.mark.parametrize("content", ["", "[", "[[1]]", '[["arm", "a", "gossip", [1.0, 0.1, 1]]]'])
def test_a_damaged_file_ends_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "privacy.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match="is damaged, and without it nobody knows what was spent"):
        PrivacyAccount(path).claim("arm", "a", WEIGHTS, budget())
    assert path.read_text() == content
