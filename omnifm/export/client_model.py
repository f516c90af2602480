"""A client's network, ready to call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omnifm.algorithms.placement import Placement
from omnifm.data.subset import Batch
from omnifm.runs.arm import DataSpec
from omnifm.tasks.task import Task
from omnifm.training.model import FederatedModel
from omnifm.utils.device import Precision, as_float32, autocast, to_device
from omnifm.utils.errors import DataError, did_you_mean


class ClientModel(nn.Module):
    """A client's network with its weights and, if it has an adapter, the bank, in evaluation mode.

    ``allowed`` are the possible labels of its images, unless a call names others; ``exclusive`` is whether an image has
    exactly one of them. ``placement`` is the circle that a newcomer was assigned to.
    """

    def __init__(
        self,
        model: FederatedModel,
        task: Task,
        data_spec: DataSpec,
        *,
        allowed: tuple[str, ...] | None = None,
        exclusive: bool = True,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.model, self.task, self.spec, self._precision = model, task, data_spec, precision
        self.label_names = data_spec.shape.label_names
        self.allowed = self.label_names if allowed is None else allowed
        self.exclusive = exclusive
        self.placement: Placement | None = None
        self.eval()

    def forward(self, images: Tensor, *, allowed: Sequence[str] | None = None, **more: Any) -> Any:
        """Predict for images.

        Args:
            images: ``(batch, channels, *size)``, float in [0, 1], as the network sees those of the data.
            allowed: the possible labels, if not those of the client.
            more: further inputs of the task, such as ``question=["..."]``.

        Returns:
            The task's answers: logits, images, or texts.

        Raises:
            DataError: the images have another form, a label is unknown, or an input is missing.
        """
        batch = self.batch(images, allowed, **more)
        return self.task.answer(self._predicted(batch), batch)

    def result(self, images: Tensor, **more: Any) -> dict[str, Tensor]:
        """Predict as :meth:`forward` does, and return the tensors of the task's ``signature`` by name."""
        batch = self.batch(images, **more)
        return self.task.result(self._predicted(batch), batch)

    def _predicted(self, batch: Batch) -> Any:
        with autocast(batch["image"].device, self._precision):
            return as_float32(self.model(batch).prediction)

    def batch(self, images: Tensor, allowed: Sequence[str] | None = None, **more: Any) -> Batch:
        """Return the network's input for images, on its device; raises :class:`DataError` as the model does."""
        spec, device = self.spec, next(self.model.parameters()).device
        if images.dim() != spec.axes + 2 or images.shape[1] != spec.channels or not images.is_floating_point():
            size = ", ".join(["depth", "height", "width"][-spec.axes :])
            raise DataError(
                f"The images are {tuple(images.shape)} of {images.dtype}; the model takes (batch, {spec.channels}, "
                f"{size}), floating point in [0, 1]."
            )
        mask = self._mask(self.allowed if allowed is None else allowed).expand(len(images), -1)
        batch = self.task.request(images.float(), mask.to(images.device), **more)
        return to_device({**batch, "exclusive": torch.full((len(images),), self.exclusive)}, device)

    def _mask(self, allowed: Sequence[str]) -> Tensor:
        if unknown := [name for name in allowed if name not in self.label_names]:
            raise DataError(f"allowed: there is no label {unknown[0]!r}. {did_you_mean(unknown[0], self.label_names)}")
        return torch.tensor([name in allowed for name in self.label_names], dtype=torch.bool)
