"""One pipeline for every task: ``encode``, the spectral adapter, ``decode``; and which of its tensors are whose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor, nn

from omnifm.data.examples import Batch
from omnifm.errors import ExperimentError
from omnifm.networks.normalisation import is_normalisation
from omnifm.spectral.adapter import AdapterOutput, SpectralAdapter
from omnifm.tasks.task import TaskNetwork

ALWAYS_PERSONAL = ("suffix",)


class Output(NamedTuple):
    """A prediction, and what the adapter saw on the way (None on a bare network)."""

    prediction: Tensor
    adapter: AdapterOutput | None


class Pipeline(nn.Module):
    """A task's network with, or without, the adapter between its halves."""

    def __init__(self, network: TaskNetwork, adapter: SpectralAdapter | None) -> None:
        super().__init__()
        self.network, self.adapter = network, adapter

    def forward(self, batch: Batch) -> Output:
        """Predict for a batch that has at least ``image`` ``(batch, channels, *size)``."""
        tokens, context = self.network.encode(batch)
        seen = None if self.adapter is None else self.adapter(tokens, batch["image"])
        tokens = tokens if seen is None else seen.tokens
        return Output(self.network.decode(tokens, context, batch), seen)

    def personal_names(self, parts: Iterable[str]) -> frozenset[str]:
        """Return the names of the tensors that stay at the client.

        ``parts`` are components of the tensors' dotted names (``backbone``, ``head``, ``adapter``,
        ``adapter.tokenizer``), ``norm`` for the backbone's normalisation layers, or ``everything``.

        Raises:
            ExperimentError: a part matches nothing.
        """
        names = list(self.state_dict())
        layers = [name for name, module in self.named_modules() if is_normalisation(module)]
        personal: set[str] = set()
        for part in parts:
            if part == "everything":
                found = set(names)
            elif part == "norm":
                found = {n for n in names if any(n.startswith(layer + ".") for layer in layers)}
            else:
                found = {n for n in names if f".{part}." in f".{n}."}
            if not found:
                known = sorted({part for n in names for part in n.split(".")[:2]} | {"norm", "everything"})
                raise ExperimentError(
                    f"No part of the network is called {part!r}, so it cannot be personal. "
                    f"Parts are {', '.join(known)}, and dotted names below them."
                )
            personal |= found
        always = {n for n in names if n.rsplit(".", 1)[-1] in ALWAYS_PERSONAL}
        return frozenset(personal | always)
