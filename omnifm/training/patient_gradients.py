"""The gradient of each patient by itself: for several at a time where the network allows it, else one by one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from omnifm.core.tensors import Tensors
from omnifm.data.subset import Batch
from omnifm.training.hooks import LocalTraining, objective_of
from omnifm.training.trainer import Trainer
from omnifm.utils.device import fork_rng
from omnifm.utils.signals import check_interrupts

_NUMBERS = 1 << 25
"""So many numbers of gradients are in memory at a time, or a batch of patients, if that is less."""


class PatientBatch(NamedTuple):
    """The images of one patient as the network sees them, and the seed of whatever the network draws with them."""

    batch: Batch
    seed: int


class PatientObjective(nn.Module):
    """What local training minimises on one patient, as a module: the weights in it can be replaced for a call."""

    def __init__(self, trainer: Trainer, all_hooks: Sequence[LocalTraining]) -> None:
        super().__init__()
        self.model = trainer.model
        self._trainer, self._hooks = [trainer], all_hooks  # in a list: a module would look for tensors in it
        self._together = True

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss with all that the network and the algorithm add to it."""
        (trainer,) = self._trainer
        output = trainer.output(batch)
        return objective_of(trainer.task.loss(output.prediction, batch), output, batch, self._hooks)

    def gradients(self, weights: Tensors, patients: Sequence[PatientBatch]) -> Iterator[Tensor]:
        """Yield the gradients of these weights, flat and in their order, ``(patients, numbers)``, a batch at a time."""
        (trainer,), size = self._trainer, sum(value.numel() for value in weights.values())
        for chunk in _alike(patients, max(1, min(trainer.settings.batch_size, _NUMBERS // size))):
            check_interrupts()
            found = self._of_many(weights, chunk) if self._together else None
            if found is None:
                self._together = False  # nor will it do so the next time
                found = torch.stack([self._of_one(weights, patient) for patient in chunk])
            yield found

    def _of_many(self, weights: Tensors, patients: Sequence[PatientBatch]) -> Tensor | None:
        """Return the gradients of patients with equally many images; None if the network cannot do it this way.

        It cannot if it draws random numbers, or decides by the value of a tensor.
        """
        stacked = {name: torch.stack([one.batch[name] for one in patients]) for name in patients[0].batch}
        values = {f"model.{name}": value.detach() for name, value in weights.items()}

        def objective(values: Tensors, batch: Batch) -> Tensor:
            found: Tensor = functional_call(self, values, (batch,))
            return found

        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "There is a performance drop")
                found = vmap(grad(objective), in_dims=(None, 0), randomness="error")(values, stacked)
        except RuntimeError:
            return None
        return torch.cat([found[name].detach().float().reshape(len(patients), -1) for name in values], dim=1)

    def _of_one(self, weights: Tensors, patient: PatientBatch) -> Tensor:
        (trainer,) = self._trainer
        with fork_rng(trainer.device, patient.seed):
            gradients = torch.autograd.grad(self(patient.batch), list(weights.values()), allow_unused=True)
        found = [
            torch.zeros_like(weight) if gradient is None else gradient
            for weight, gradient in zip(weights.values(), gradients, strict=True)
        ]
        return torch.cat([gradient.detach().float().reshape(-1) for gradient in found])


def _alike(patients: Sequence[PatientBatch], most: int) -> Iterator[list[PatientBatch]]:
    """Yield groups of at most so many patients with equally many images."""
    by_count: dict[int, list[PatientBatch]] = {}
    for patient in patients:
        by_count.setdefault(len(patient.batch["image"]), []).append(patient)
    for group in by_count.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]
