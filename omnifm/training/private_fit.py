"""Local training by DP-SGD on patients (Abadi et al., Deep Learning with Differential Privacy, CCS 2016).

Each step draws each patient independently, clips the gradient of each drawn one as a whole, sums, and adds Gaussian
noise. Whatever follows from the weights then is as private as they are: weights that stay at the client, control
variates, an optimiser's momentum. So nothing else may look at the training images, nor may what one patient contributes
depend on who else was drawn: no statistics of batches, and random numbers of its own for the augmentation of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnifm.data.subset import PATIENT, Batch, Subset
from omnifm.training.hooks import LocalTraining, Phase, change_gradients, trained_alone
from omnifm.training.optimizer import make_optimizer
from omnifm.training.private import PrivateRound, Release, rows_by_patient
from omnifm.utils.device import deterministic, fork_rng, to_device
from omnifm.utils.seeding import derive_seed, generator
from omnifm.utils.signals import check_interrupts
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
    steps = 0
    trainer.model.train()
    for phase in all_hooks[0].phases or (Phase(trainer.settings.epochs),):
        with trained_alone(trainer.trainable, phase.names) as weights, deterministic(trainer.device):
            optimizer = make_optimizer(trainer.settings, trainer.learning_rate, list(weights.values()))
            for _ in range(phase.epochs):
                begin_epoch()
                for _ in range(steps_per_epoch(private.sampling)):
                    name = (round_number, fit_number, steps)
                    drawn = [patients[one] for one in private.drawn(len(patients), *name)]
                    total = _summed_gradients(trainer, private, train, drawn, weights, all_hooks, name)
                    total = private.noised(Release.WEIGHTS, total, private.patient_clip, *name)
                    _set_gradients(weights, total / (private.sampling * told))
                    for hooks in all_hooks:
                        if hooks.gradient_hook is not None:
                            change_gradients(dict(weights), hooks.gradient_hook)
                    optimizer.step()
                    steps += 1
    return told, steps


def _summed_gradients(
    trainer: Trainer,
    private: PrivateRound,
    train: Subset,
    drawn: Sequence[Tensor],
    weights: Weights,
    all_hooks: Sequence[LocalTraining],
    name: tuple[int, int, int],
) -> Tensor:
    """Return the sum of the clipped gradients of the patients whose rows are ``drawn``, flat."""
    names = list(weights)
    total = torch.zeros(sum(weights[one].numel() for one in names), device=trainer.device)
    for rows in drawn:
        check_interrupts()
        stream = (trainer.seed, trainer.client.name, *name, train.patient_at(int(rows[0])), "private")
        order = generator(*stream)
        if 0 < private.patient_images < len(rows):
            rows = rows[torch.randperm(len(rows), generator=order)[: private.patient_images]]
        batch = trainer.task.prepare_batch(trainer.task.augment(train.batch(rows), order))
        batch = to_device({**batch, PATIENT: train.patient_numbers[rows]}, trainer.device)
        with fork_rng(trainer.device, derive_seed(*stream)):
            objective = _objective(trainer, batch, all_hooks)
            gradients = torch.autograd.grad(objective, [weights[one] for one in names], allow_unused=True)
        found = [torch.zeros_like(weights[one]) if g is None else g for one, g in zip(names, gradients, strict=True)]
        flat = torch.cat([g.detach().float().reshape(-1) for g in found])
        norm = float(flat.double().norm())
        if math.isfinite(norm):
            total += flat * min(1.0, private.patient_clip / max(norm, 1e-12))
    return total


def _objective(trainer: Trainer, batch: Batch, all_hooks: Sequence[LocalTraining]) -> Tensor:
    output = trainer.output(batch)
    objective = trainer.task.loss(output.prediction, batch)
    if output.extra_loss is not None:
        objective = objective + output.extra_loss
    for hooks in all_hooks:
        if hooks.extra_loss is not None:
            objective = objective + hooks.extra_loss(output, batch)
    return objective


def _set_gradients(weights: Weights, flat: Tensor) -> None:
    parts = torch.split(flat, [weight.numel() for weight in weights.values()])
    for weight, part in zip(weights.values(), parts, strict=True):
        weight.grad = part.view(weight.shape).to(weight.dtype)
