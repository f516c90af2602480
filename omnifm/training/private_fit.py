"""Local training by DP-SGD on patients (Abadi et al., Deep Learning with Differential Privacy, CCS 2016).

Each step draws each patient independently, clips the gradient of each drawn one as a whole, sums, and adds Gaussian
noise. Whatever follows from the weights then is as private as they are: weights that stay at the client, control
variates, an optimiser's momentum. So nothing else may look at the training images, nor may what one patient contributes
depend on who else was drawn: no statistics of batches, and random numbers of its own for the augmentation of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnifm.data.subset import PATIENT, Subset
from omnifm.training.hooks import LocalTraining, Phase, change_gradients, trained_alone
from omnifm.training.optimizer import make_optimizer
from omnifm.training.patient_gradients import PatientBatch, PatientObjective
from omnifm.training.private import PrivateRound, Release, rows_by_patient
from omnifm.utils.device import deterministic, to_device
from omnifm.utils.seeding import derive_seed, generator
from omnifm.utils.work_limit import begin_epoch

if TYPE_CHECKING:
    from omnifm.training.trainer import Trainer

Weights = Mapping[str, torch.nn.Parameter]


def steps_per_epoch(sampling: float) -> int:
    """Return how many steps pass over each patient once, on average."""
    return math.ceil(1 / sampling - 1e-9)


def private_fit(
    trainer: Trainer, private: PrivateRound, round_number: int, all_hooks: Sequence[LocalTraining], fit_number: int
) -> tuple[int, int]:
    """Train for the epochs of the settings, or the phases of the first of the hooks.

    ``fit_number`` counts the trainings of this client in this round. Hooks on batches are not called: what they would
    see has no noise. A patient whose gradient is not finite counts as one without any.

    Returns:
        The number of patients, with noise, and of steps.
    """
    train = trainer.task.setup_client(trainer.client.train)
    patients = rows_by_patient(train)
    told = private.patients(Release.PATIENTS, len(patients))
    steps, objective = 0, PatientObjective(trainer, all_hooks)
    trainer.model.train()
    for phase in all_hooks[0].phases or (Phase(trainer.settings.epochs),):
        with trained_alone(trainer.trainable, phase.names) as weights, deterministic(trainer.device):
            size = sum(weight.numel() for weight in weights.values())
            optimizer = make_optimizer(trainer.settings, trainer.learning_rate, list(weights.values()))
            for _ in range(phase.epochs):
                begin_epoch()
                for _ in range(steps_per_epoch(private.sampling)):
                    name = (round_number, fit_number, steps)
                    drawn = [
                        _patient_batch(trainer, private, train, patients[one], name)
                        for one in private.drawn(len(patients), *name)
                    ]
                    found = objective.gradients(dict(weights), drawn)
                    total = _clipped_sum(found, private.patient_clip, size, trainer.device)
                    total = private.noised(Release.WEIGHTS, total, private.patient_clip, *name)
                    _set_gradients(weights, total / (private.sampling * told))
                    change_gradients(weights, all_hooks)
                    optimizer.step()
                    steps += 1
    return told, steps


def _patient_batch(
    trainer: Trainer, private: PrivateRound, train: Subset, rows: Tensor, name: tuple[int, int, int]
) -> PatientBatch:
    """Return the images of one patient, augmented by random numbers that depend on no other patient."""
    stream = (trainer.seed, trainer.client.name, *name, train.patient_at(int(rows[0])), "private")
    order = generator(*stream)
    if 0 < private.patient_images < len(rows):
        rows = rows[torch.randperm(len(rows), generator=order)[: private.patient_images]]
    batch = trainer.task.prepare_batch(trainer.task.augment(train.batch(rows), order))
    batch = to_device({**batch, PATIENT: train.patient_numbers[rows]}, trainer.device)
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
