"""A network's tensors by name, and what each was last copied from: what has not changed since is not copied again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnifm.core.tensors import Tensors


def learned_state_dict(network: nn.Module) -> Tensors:
    """Return a network's parameters and buffers without those parameters that no gradient acts on, not copied."""
    fixed = {
        name for name, parameter in network.named_parameters(remove_duplicate=False) if not parameter.requires_grad
    }
    return {name: value for name, value in network.state_dict().items() if name not in fixed}


class WeightCache:
    """What a network that serves one client after another has learned: its parameters and buffers.

    Parameters that no gradient acts on are not among them: they are as they were given to every client, once.
    """

    def __init__(self, network: nn.Module) -> None:
        self.tensors: Tensors = learned_state_dict(network)
        """The network's own tensors, not copies."""
        self.trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
        """The parameters that gradients act on, by name."""
        self._copied: dict[str, tuple[Tensor, int]] = {}

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Copy these values into the network; those that stand there already are left."""
        for name, value in values.items():
            own = self.tensors[name]
            source, version = self._copied.get(name, (None, 0))
            if source is value and version == own._version:
                continue
            own.copy_(value)
            self._copied[name] = value, own._version

    def changed(self) -> None:
        """Forget what was copied: training has changed the tensors. Fused optimisers do it behind autograd's back."""
        self._copied.clear()
