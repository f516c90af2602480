"""A network's tensors by name, and what each was last copied from: what has not changed since is not copied again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnifm.tensors import Tensors


class Weights:
    """The parameters and buffers of a network that serves one client after another."""

    def __init__(self, network: nn.Module) -> None:
        self.tensors: Tensors = network.state_dict()
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
