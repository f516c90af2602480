"""What an algorithm can change in local training: the gradient, the loss, and which weights are trained when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from omnifm.core.tensors import Tensors
from omnifm.data.subset import Batch
from omnifm.training.model import Output

GradientHook = Callable[[Tensors, Tensors], None]
"""Changes the gradients (second argument) in place, given the weights (first), both by name."""
ExtraLoss = Callable[[Output, Batch], Tensor]
"""Returns a scalar to add to the loss of a batch."""


@dataclass(frozen=True)
class Phase:
    """A number of local epochs that train only the parameters of these names; None for all."""

    epochs: int
    names: frozenset[str] | None = None


@dataclass(frozen=True)
class LocalTraining:
    """What an algorithm changes in local training; by default nothing.

    ``gradient_hook`` changes the gradients of the loss before each step, after they were clipped (so that it acts as in
    its paper); ``extra_loss`` adds to the loss; ``phases`` replace the epochs of the settings, each with an
    optimiser of its own. ``on_epoch`` is called before each epoch of each phase, ``on_batch`` after each step with the
    output and the batch it was computed from; both only observe.
    """

    gradient_hook: GradientHook | None = None
    extra_loss: ExtraLoss | None = None
    phases: tuple[Phase, ...] = ()
    on_epoch: Callable[[], None] | None = None
    on_batch: Callable[[Output, Batch], None] | None = None


@contextmanager
def trained_alone(trainable: dict[str, Parameter], names: frozenset[str] | None) -> Iterator[dict[str, Parameter]]:
    """Freeze all parameters but those of ``names`` (None for all) in this block, and yield these.

    Gradients are freed at its end.
    """
    chosen = {name: p for name, p in trainable.items() if names is None or name in names}
    for name, parameter in trainable.items():
        parameter.requires_grad_(name in chosen)
    try:
        yield chosen
    finally:
        for parameter in trainable.values():
            parameter.requires_grad_(True).grad = None


def objective_of(loss: Tensor, output: Output, batch: Batch, all_hooks: Sequence[LocalTraining]) -> Tensor:
    """Return the loss of a task with all that the network and the hooks add to it: a scalar."""
    objective = loss if output.extra_loss is None else loss + output.extra_loss
    for hooks in all_hooks:
        if hooks.extra_loss is not None:
            objective = objective + hooks.extra_loss(output, batch)
    return objective


def change_gradients(weights: dict[str, Parameter], all_hooks: Sequence[LocalTraining]) -> None:
    """Let the hooks change the gradients; a weight without influence on the loss gets a gradient of zero."""
    for hooks in all_hooks:
        if hooks.gradient_hook is not None:
            _change_gradients(weights, hooks.gradient_hook)


@torch.no_grad()
def _change_gradients(weights: dict[str, Parameter], hook: GradientHook) -> None:
    for weight in weights.values():
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    hook({name: weight.detach() for name, weight in weights.items()}, gradients)
