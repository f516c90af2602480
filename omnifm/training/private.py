"""What a private run asks of local training: what leaves, and who adds the noise to it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor

from omnifm.data.subset import Subset


class Release(StrEnum):
    """What leaves a client in a private run."""

    WEIGHTS = "weights"
    PATIENTS = "patients"
    PROTOTYPES = "prototypes"
    VALIDATION_PATIENTS = "validation patients"
    VALIDATION_SCORES = "validation scores"
    TEST_PATIENTS = "test patients"
    TEST_SCORES = "test scores"


COUNTS = frozenset({Release.PATIENTS, Release.VALIDATION_PATIENTS, Release.TEST_PATIENTS})
"""The numbers of patients."""


class PrivateRound(Protocol):
    """One client's round in a private run: the only way from its patients to what leaves it."""

    @property
    def sampling(self) -> float:
        """The probability with which a step draws a patient."""
        ...

    @property
    def patient_clip(self) -> float:
        """The largest L2 norm of one patient's gradient."""
        ...

    @property
    def patient_images(self) -> int:
        """The most images of a patient in one gradient; 0 for all."""
        ...

    @property
    def prototypes_due(self) -> bool:
        """Whether prototypes and retrievals leave in this round."""
        ...

    def patients(self, release: Release, count: int) -> int:
        """Return a number of patients with noise, at least 1; the same in every round."""
        ...

    def drawn(self, count: int, *names: object) -> list[int]:
        """Return which of so many patients a training step takes, each with the probability ``sampling``."""
        ...

    def deviation(self, release: Release, reach: float) -> float:
        """Return the standard deviation of the noise of a sum, of which one patient can change at most ``reach``."""
        ...

    def noised(self, release: Release, total: Tensor, reach: float, *names: object) -> Tensor:
        """Return a sum over patients with noise.

        Args:
            release: what it is.
            total: the sum, of which one patient can change at most ``reach``, as an L2 norm.
            reach: that bound.
            names: tell the sums of one round apart.
        """
        ...


def rows_by_patient(examples: Subset) -> Sequence[Tensor]:
    """Return the places of each patient's examples, ``(n,)`` int64, in the order in which patients first appear."""
    numbers = examples.patient_numbers
    order = numbers.argsort(stable=True)
    counts = numbers.bincount()
    return torch.split(order, counts.tolist()) if len(order) else ()
