"""The two terms that algorithms add to a local gradient."""

from __future__ import annotations

from omnifm.core.tensors import Tensors
from omnifm.training.hooks import GradientHook
from omnifm.training.trainer import Trainer


def pull(strength: float, anchor: Tensors, trainer: Trainer) -> GradientHook:
    """Return ``g + strength (w - anchor)``: the gradient of ``strength / 2 ||w - anchor||^2``, squared.

    It acts on the parameters that the anchor has; personal parameters have no anchor.
    """
    placed = trainer.place(anchor)

    def hook(weights: Tensors, gradients: Tensors) -> None:
        for name, value in placed.items():
            if name in gradients:
                gradients[name].add_(weights[name] - value, alpha=strength)

    return hook


def shift(by: Tensors, trainer: Trainer) -> GradientHook:
    """Return ``g + by``: a constant added to the gradient."""
    placed = trainer.place(by)

    def hook(weights: Tensors, gradients: Tensors) -> None:
        for name, value in placed.items():
            if name in gradients:
                gradients[name].add_(value)

    return hook
