"""Local training by DP-SGD on patients (Abadi et al., Deep Learning with Differential Privacy, CCS 2016).

Each step draws each patient independently, clips the gradient of each drawn one as a whole, sums, and adds Gaussian
noise. Whatever follows from the weights then is as private as they are: weights that stay at the client, control
variates, an optimiser's momentum. So nothing else may look at the training images, nor may what one patient contributes
depend on who else was drawn: no statistics of batches, and random numbers of its own for the augmentation of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from omnifm.data.subset import PATIENT, Subset
from omnifm.training.hooks import LocalTraining, Phase, change_gradients, trained_alone
from omnifm.training.optimizer import make_optimizer
from omnifm.training.patient_gradients import PatientBatch, PatientObjective
from omnifm.training.private import PrivateRound, Release, rows_by_patient
from omnifm.training.trainer import Fit, Trainer
from omnifm.utils.device import deterministic, to_device
from omnifm.utils.seeding import derive_seed, generator
from omnifm.utils.work_limit import begin_epoch

Weights = Mapping[str, torch.nn.Parameter]


def steps_per_epoch(sampling: float) -> int:
    """Return how many steps pass over each patient once, on average."""
    return math.ceil(1 / sampling - 1e-9)


class PrivateTrainer(Trainer):
    """A trainer whose :meth:`fit` draws, clips and adds noise by the rules of a ``private`` round.

    Hooks on batches are not called: what they would see has no noise. A patient whose gradient is not finite counts as
    one without any.
    """

    private: PrivateRound

    def __init__(self, *arguments: Any, private: PrivateRound, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.private = private
        self._fits = 0

    def _trained(self, round_number: int, all_hooks: Sequence[LocalTraining]) -> Fit:
        self._fits += 1
        private, train = self.private, self.task.setup_client(self.client.train)
        patients = rows_by_patient(train)
        told = private.patients(Release.PATIENTS, len(patients))
        steps, objective = 0, PatientObjective(self, all_hooks)
        self.model.train()
        for phase in all_hooks[0].phases or (Phase(self.settings.epochs),):
            with trained_alone(self.trainable, phase.names) as weights, deterministic(self.device):
                size = sum(weight.numel() for weight in weights.values())
                optimizer = make_optimizer(self.settings, self.learning_rate, list(weights.values()))
                for _ in range(phase.epochs):
                    begin_epoch()
                    for _ in range(steps_per_epoch(private.sampling)):
                        name = (round_number, self._fits, steps)
                        drawn = [
                            self._patient_batch(train, patients[one], name)
                            for one in private.drawn(len(patients), *name)
                        ]
                        found = objective.gradients(dict(weights), drawn)
                        total = _clipped_sum(found, private.patient_clip, size, self.device)
                        total = private.noised(Release.WEIGHTS, total, private.patient_clip, *name)
                        _set_gradients(weights, total / (private.sampling * told))
                        change_gradients(weights, all_hooks)
                        optimizer.step()
                        steps += 1
        return Fit(told, steps, None)

    def _patient_batch(self, train: Subset, rows: Tensor, name: tuple[int, int, int]) -> PatientBatch:
        """Return the images of one patient, augmented by random numbers that depend on no other patient."""
        stream = (self.seed, self.client.name, *name, train.patient_at(int(rows[0])), "private")
        order = generator(*stream)
        if 0 < self.private.patient_images < len(rows):
            rows = rows[torch.randperm(len(rows), generator=order)[: self.private.patient_images]]
        batch = self.task.prepare_batch(self.task.augment(train.batch(rows), order))
        batch = to_device({**batch, PATIENT: train.patient_numbers[rows]}, self.device)
        return PatientBatch(batch, derive_seed(*stream))


def _clipped_sum(gradients: Iterable[Tensor], clip: float, size: int, device: torch.device) -> Tensor:
    """Return the sum ``(size,)`` of the rows ``(patients, size)``, each scaled down to the norm ``clip`` if longer."""
    total = torch.zeros(size, device=device)
    for rows in gradients:
        norms = rows.double().norm(dim=1)
        finite = norms.isfinite()
        scale = (clip / norms[finite].clamp(min=1e-12)).clamp(max=1.0)
        total += (rows[finite] * scale.unsqueeze(1).float()).sum(dim=0)
    return total


def _set_gradients(weights: Weights, flat: Tensor) -> None:
    parts = torch.split(flat, [weight.numel() for weight in weights.values()])
    for weight, part in zip(weights.values(), parts, strict=True):
        weight.grad = part.view(weight.shape).to(weight.dtype)
