"""The budget of a private run: with which noise each thing leaves, and what all of it costs a patient.

A patient is in one split of one hospital. What leaves of the training patients is paid for together: the steps of
training, the number of patients, prototypes with retrievals. So is what leaves of the validation patients, and of the
test patients: their number and the scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from omnifm.privacy.accountant import Charge, calibrated_noise, epsilon_of, gaussian_mu
from omnifm.privacy.settings import PrivacySettings
from omnifm.training.private import Release

POOLS: dict[str, tuple[Release, ...]] = {
    "train": (Release.WEIGHTS, Release.PATIENTS, Release.PROTOTYPES),
    "validation": (Release.VALIDATION_PATIENTS, Release.VALIDATION_SCORES),
    "test": (Release.TEST_PATIENTS, Release.TEST_SCORES),
}
"""The releases that are about the same patients, by split."""

_SHARES = {
    Release.PATIENTS: 0.05,
    Release.PROTOTYPES: 0.15,
    Release.VALIDATION_PATIENTS: 0.1,
    Release.VALIDATION_SCORES: 0.9,
    Release.TEST_PATIENTS: 0.1,
    Release.TEST_SCORES: 0.9,
}
"""The share of its split's budget that each gets; the weights get what is left. Shares of mu squared, which add up."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """How often each thing leaves a client in a run at most: ``trainings`` of ``steps`` each, and so on."""

    trainings: int
    steps: int
    prototypes: int
    validations: int
    tests: int


@dataclass(frozen=True, kw_only=True)
class PrivacyBudget:
    """What each release costs, and how many of them there are at most; ``epsilon`` is what all cost at ``delta``."""

    charges: Mapping[Release, Charge]
    delta: float
    steps: int

    @property
    def epsilon(self) -> float:
        """What the whole run costs one patient."""
        return highest_epsilon(self.charges.items(), self.delta)

    def noise(self, release: Release) -> float:
        """Return the noise of a release in units of the most that one patient contributes."""
        return self.charges[release].noise

    def one(self, release: Release) -> Charge:
        """Return what a release costs once; of weights, one training."""
        return self.charges[release]._replace(times=self.steps if release is Release.WEIGHTS else 1)


def highest_epsilon(charges: Iterable[tuple[Release, Charge]], delta: float) -> float:
    """Return what the releases cost the patients of that split whom they cost most."""
    found = list(charges)
    return max(epsilon_of([c for release, c in found if release in pool], delta) for pool in POOLS.values())


@lru_cache
def make_budget(settings: PrivacySettings, planned: Planned) -> PrivacyBudget:
    """Return the budget of a private run: the noise is such that all that is planned costs what the settings say.

    Raises:
        ExperimentError: it cannot be met, or dp-accounting is not installed.
    """
    counts = {
        Release.PATIENTS: 1,
        Release.PROTOTYPES: planned.prototypes,
        Release.VALIDATION_PATIENTS: 1,
        Release.VALIDATION_SCORES: planned.validations,
        Release.TEST_PATIENTS: 1,
        Release.TEST_SCORES: planned.tests,
    }
    steps, delta = planned.trainings * planned.steps, settings.delta
    if settings.epsilon:
        square = gaussian_mu(settings.epsilon, delta) ** 2
    else:
        alone = epsilon_of([Charge(settings.noise_multiplier, settings.sampling, steps)], delta)
        beside = sum(_SHARES[one] for one in POOLS["train"] if counts.get(one))
        square = gaussian_mu(alone, delta) ** 2 / (1 - beside)
    charges = {
        release: Charge((count / (_SHARES[release] * square)) ** 0.5, 1.0, count)
        for release, count in counts.items()
        if count
    }
    others = [charge for release, charge in charges.items() if release in POOLS["train"]]
    noise = settings.noise_multiplier or calibrated_noise(settings.epsilon, delta, settings.sampling, steps, others)
    charges[Release.WEIGHTS] = Charge(noise, settings.sampling, steps)
    return PrivacyBudget(charges=charges, delta=delta, steps=planned.steps)
