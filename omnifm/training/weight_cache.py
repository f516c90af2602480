"""A network's tensors by name, and the source of each: what has not changed since is not copied again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnifm.core.tensors import Tensors


def fixed_names(network: nn.Module) -> set[str]:
    """Return the names of a network's parameters that no gradient acts on."""
    return {name for name, parameter in network.named_parameters(remove_duplicate=False) if not parameter.requires_grad}


def learned_state_dict(network: nn.Module) -> Tensors:
    """Return a network's buffers and the parameters that gradients act on, not copied."""
    fixed = fixed_names(network)
    return {name: value for name, value in network.state_dict().items() if name not in fixed}


class WeightCache:
    """The learned parameters and buffers of a network that is used for one client after another.

    Parameters that no gradient acts on are not included: they are the same for every client.
    """

    def __init__(self, network: nn.Module) -> None:
        self.tensors: Tensors = learned_state_dict(network)
        """The network's own tensors, not copies."""
        self.trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
        """The parameters that gradients act on, by name."""
        self._copied: dict[str, tuple[Tensor, int]] = {}

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Copy these values into the network, except those that are already there."""
        for name, value in values.items():
            own = self.tensors[name]
            source, version = self._copied.get(name, (None, 0))
            if source is value and version == own._version:
                continue
            own.copy_(value)
            self._copied[name] = value, own._version

    def changed(self) -> None:
        """Forget what was copied: training changed the tensors. Fused optimisers do not change their versions."""
        self._copied.clear()
