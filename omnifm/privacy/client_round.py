"""One client's round in a private run: claims from the budget, noise, and coins."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omnifm.core.evaluation import Split
from omnifm.data.client_stats import ClientStats
from omnifm.data.subset import ClientData
from omnifm.privacy.budget import PrivacyBudget
from omnifm.privacy.noise import gaussian_noise, secret_coins
from omnifm.privacy.settings import PrivacySettings
from omnifm.privacy.vault import ClientVault
from omnifm.training.private import Release
from omnifm.utils.errors import PrivacyBudgetError

_SCORES: dict[Split, Release] = {"validation": Release.VALIDATION_SCORES, "test": Release.TEST_SCORES}


@dataclass(frozen=True)
class PrivacyPlan:
    """The settings of a private run and the budget that follows from them."""

    settings: PrivacySettings
    budget: PrivacyBudget

    @property
    def promise(self) -> dict[str, float]:
        """The guarantee of the run for each patient, as it is written down beside results and models."""
        return {"epsilon": round(self.budget.epsilon, 4), "delta": self.budget.delta}

    def begin(self, vault: ClientVault, key: str, round_number: int) -> ClientRound:
        """Return a client's round; ``key`` is a digest of all that is computed from in it."""
        return ClientRound(self, vault, key, round_number)

    def told(self, client: ClientData, vault: ClientVault) -> ClientStats:
        """Return what a client tells of its data: numbers of patients with noise, not of examples.

        Raises:
            PrivacyBudgetError: the budget is spent.
        """
        numbers = {}
        private = self.begin(vault, "", 0)
        counted = {
            "train": Release.PATIENTS,
            "validation": Release.VALIDATION_PATIENTS,
            "test": Release.TEST_PATIENTS,
        }
        for split, release in counted.items():
            numbers[split] = private.patients(release, len(set(getattr(client, split).patients)))
        return ClientStats(client.name, client.group, **numbers)


@dataclass(frozen=True)
class ClientRound:
    """What local training asks (see :class:`~omnifm.training.private.PrivateRound`), for one client and round.

    ``left`` counts what was claimed and has not been released yet. All noise is named by the sum that it is added to,
    so that it cannot cancel out between two sums, whatever else changes from one request to the next, the images
    included.
    """

    plan: PrivacyPlan
    vault: ClientVault
    key: str
    round: int
    left: Counter[Release] = field(default_factory=Counter)

    @property
    def sampling(self) -> float:
        """As in the settings."""
        return self.plan.settings.sampling

    @property
    def patient_clip(self) -> float:
        """As in the settings."""
        return self.plan.settings.patient_clip

    @property
    def patient_images(self) -> int:
        """As in the settings."""
        return self.plan.settings.patient_images

    @property
    def prototypes_due(self) -> bool:
        """In the first round, and in every ``prototypes_every``-th after it, if the run has prototypes at all."""
        due = (self.round - 1) % self.plan.settings.prototypes_every == 0
        return due and Release.PROTOTYPES in self.plan.budget.charges

    def claim_training(self) -> None:
        """Claim one training, with prototypes if they are due.

        Raises:
            PrivacyBudgetError: the budget is spent.
        """
        releases = {Release.WEIGHTS: 1, **({Release.PROTOTYPES: 1} if self.prototypes_due else {})}
        self._claim(self.key, releases)
        self.left.update({release: self.plan.budget.one(release).times for release in releases})

    def claim_scores(self, split: Split, point: str) -> None:
        """Claim the scores of one split at one point.

        Raises:
            PrivacyBudgetError: the budget is spent.
        """
        self._claim(f"{self.key} {point}", {_SCORES[split]: 1})
        self.left[_SCORES[split]] += 1

    def spent(self) -> float:
        """Return the epsilon that the arm has cost a patient so far."""
        return self.vault.account.spent(self.plan.budget.delta, self.vault.arm)

    def patients(self, release: Release, count: int) -> int:
        """Return a number of patients with noise; claimed once in an arm, and the same in all of the same noise."""
        deviation = self.deviation(release, 1.0)
        self.vault.account.claim(self.vault.arm, f"{count}, noise {deviation}", {release: 1}, self.plan.budget)
        return max(1, round(float(self._noised(release, torch.tensor([float(count)]), 1.0))))

    def drawn(self, count: int, *names: object) -> list[int]:
        """Return which of so many patients a training step takes."""
        coins = secret_coins(self.vault.secret, count, self.sampling, "patients", self._context, self.key, *names)
        return [int(place) for place in coins.nonzero()[0]]

    def deviation(self, release: Release, reach: float) -> float:
        """Return the standard deviation of the noise of a sum."""
        return self.plan.budget.noise(release) * reach

    def noised(self, release: Release, total: Tensor, reach: float, *names: object) -> Tensor:
        """Return a sum over patients with noise, in its own type.

        Raises:
            PrivacyBudgetError: it was not claimed.
        """
        if not self.left[release]:
            raise PrivacyBudgetError(
                f"More releases of {release} than the privacy budget has counted for this request."
            )
        self.left[release] -= 1
        return self._noised(release, total, reach, *self._context, self.key, *names)

    @property
    def _context(self) -> list[str]:
        return [self.vault.arm, self.vault.context]

    def _claim(self, key: str, releases: dict[Release, int]) -> None:
        named = f"{self.vault.context} {key}"
        self.vault.account.claim(self.vault.arm, named, releases, self.plan.budget)

    def _noised(self, release: Release, total: Tensor, reach: float, *names: object) -> Tensor:
        exact = total.detach().cpu().double().contiguous()
        deviation = self.deviation(release, reach)
        digest = hashlib.sha256(exact.numpy().tobytes()).hexdigest()
        stream = (release, *names, deviation, digest)
        noise = gaussian_noise(self.vault.secret, exact.numel(), *stream)
        return (exact + deviation * torch.from_numpy(noise).view(exact.shape)).to(total)
