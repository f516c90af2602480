"""Pictures from the change of weights (Geiping et al., Inverting Gradients, NeurIPS 2020).

The attacker looks for images whose gradient points where the change of weights does: it minimises the cosine distance
of the two by Adam, and knows the labels. It looks among pictures that are like its own images, a mean and principal
components (after Jeon et al., Gradient Inversion with Generative Image Prior, NeurIPS 2021), or, as Geiping et al. do,
among all pictures of small total variation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from omnifm.core.records import OWN_WEIGHTS, ClientState
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix
from omnifm.data.subset import ClientData, Subset
from omnifm.federation.client import ClientRuntime
from omnifm.privacy.vault import ClientVault
from omnifm.runs.arm import Arm
from omnifm.training.trainer import Trainer

_RATE, _SPREAD = 0.1, 0.1
"""The size of the first steps, and how far from the mean it begins, in units of the prior."""


def with_patients(arm: Arm, client: ClientData, rows: Tensor, rate: float, batch: int) -> ClientRuntime:
    """Return a hospital whose training data are these rows, and which takes plain steps on so many at this rate.

    In a private run every patient is drawn in one step, which is more than would be.
    """
    train = Subset(client.train.whole(), client.train.patients, rows)
    settings = replace(arm.experiment.training, momentum=0.0, weight_decay=0.0, clip_norm=0.0)
    training = replace(settings, batch_size=max(2, batch), learning_rate=rate)
    plan = arm.runtime.privacy
    if plan:
        plan = replace(plan, settings=replace(plan.settings, sampling=1.0))
    return replace(arm.runtime, clients={client.name: replace(client, train=train)}, training=training, privacy=plan)


def change_of(arm: Arm, runtime: ClientRuntime, weights: Tensors | None = None) -> Tensors:
    """Return by how much one hospital's weights have changed after a local epoch, as they leave it in an upload.

    ``weights`` are what a malicious server sends in place of the initial ones. Those that are averaged within circles
    it sends as the weights of a circle.
    """
    start = arm.start().server
    sent = arm.algorithm.broadcast(start)
    if weights:
        own = {n: weights[n] for n in runtime.initial.keys() - start.shared.keys() - runtime.personal}
        message = {"circle": torch.tensor([0]), **add_prefix(OWN_WEIGHTS, own)} if own else {}
        sent = replace(sent, shared={n: weights[n] for n in start.shared}).with_message(message)
    (client,) = runtime.clients
    change = runtime.update(sent, client, ClientState(), ClientVault())[0].change
    return {**change, **strip_prefix("circle.0", change)}


class Prior(NamedTuple):
    """Where the attacker looks: ``mean + codes @ basis``, with penalties on codes and on total variation.

    ``mean`` is ``(1, h, w)``, ``basis`` ``(codes, h * w)``.
    """

    mean: Tensor
    basis: Tensor
    codes: float
    variation: float

    @classmethod
    def of_images(cls, images: Tensor, components: int = 200) -> Self:
        """Pictures like these ``(n, 1, h, w)``: a code of standard deviation 1 is as images vary."""
        mean = images.mean(dim=0)
        _, spread, axes = torch.linalg.svd((images - mean).flatten(1), full_matrices=False)
        return cls(mean, axes[:components] * spread[:components, None] / len(images) ** 0.5, 0.01, 0.0)

    @classmethod
    def of_pixels(cls, mean: Tensor) -> Self:
        """Any picture of small total variation."""
        return cls(mean, 0.3 * torch.eye(mean.numel()), 0.0, 0.3)

    def pictures(self, codes: Tensor) -> Tensor:
        """Return the pictures of codes ``(n, codes)``: ``(n, 1, h, w)``."""
        return (self.mean.flatten() + codes @ self.basis).view(-1, *self.mean.shape)


def inverted(
    trainer: Trainer, batch: Tensors, change: Tensors, prior: Prior, steps: int, chance: torch.Generator
) -> Tensor:
    """Return the pictures whose gradient is most like ``-change``, ``(n, 1, h, w)``.

    Args:
        trainer: has the weights that the hospital started from.
        batch: what is known of the examples: all but their images.
        change: of the weights.
        prior: which pictures are looked at.
        steps: how many.
        chance: draws the first pictures.
    """
    weights = {name: weight for name, weight in trainer.trainable.items() if name in change}
    target = -torch.cat([change[name].flatten() for name in weights])
    codes = _SPREAD * torch.randn(len(batch["target"]), len(prior.basis), generator=chance)
    codes.requires_grad_()
    optimizer = torch.optim.Adam([codes], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    trainer.model.train()
    for _ in range(steps):
        pictures = prior.pictures(codes)
        seen = {**batch, "image": pictures}
        loss = trainer.task.loss(trainer.output(seen).prediction, seen)
        found = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        distance = 1 - torch.cosine_similarity(torch.cat([one.flatten() for one in found]), target, dim=0)
        variation = sum(pictures.diff(dim=axis).abs().mean() for axis in (-2, -1))
        objective = distance + prior.codes * codes.square().mean() + prior.variation * variation
        (codes.grad,) = torch.autograd.grad(objective, [codes])
        optimizer.step()
        schedule.step()
    return prior.pictures(codes.detach()).clamp(0, 1)
