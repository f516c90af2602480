"""The optimiser of local training."""

from __future__ import annotations

import torch

from omnifm.training.settings import TrainingSettings


def make_optimizer(settings: TrainingSettings, rate: float, weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Return a new optimiser of these weights with the learning rate ``rate``."""
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(weights, lr=rate, weight_decay=settings.weight_decay, fused=True)
    return torch.optim.SGD(weights, lr=rate, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True)
