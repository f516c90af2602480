"""The model of every task: ``encode``, the spectral adapter, ``decode``; and which of its tensors are personal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from copy import deepcopy
from typing import Any, NamedTuple

from torch import Tensor, nn

from omnifm.data.subset import Batch
from omnifm.networks.normalisation import is_normalisation, layers_with_statistics
from omnifm.spectral.adapter import AdapterOutput, SpectralAdapter
from omnifm.tasks.task import Prediction, TaskNetwork
from omnifm.training.weight_cache import fixed_names, learned_state_dict
from omnifm.utils.errors import ExperimentError

ALWAYS_PERSONAL = ("suffix",)
PART_WORDS = ("norm", "statistics", "everything")
"""What names parts of a network by their kind, and not by their place in the dotted names."""


def is_part(name: str, part: str) -> bool:
    """Tell whether a tensor's dotted name contains ``part``: one or more of its consecutive components."""
    return f".{part}." in f".{name}."


def always_personal(names: Iterable[str]) -> set[str]:
    """Return those of the tensors' names that stay at the client whatever the settings are."""
    return {name for name in names if name.rpartition(".")[2] in ALWAYS_PERSONAL}


class Output(NamedTuple):
    """A prediction and intermediate results.

    ``features`` ``(batch, L, width)`` are the tokens after the adapter; ``adapter`` is None on a bare network.
    ``extra_loss`` is a scalar that the network itself adds to the task's loss in training, if any.
    """

    prediction: Prediction
    features: Tensor
    adapter: AdapterOutput | None = None
    extra_loss: Tensor | None = None


class AuxiliaryModule(nn.Module):
    """Modules that an algorithm adds to the network, trained and shared with it. This one changes nothing."""

    def forward(self, features: Tensor) -> Tensor:
        """Map the features ``(batch, L, width)`` to the decoder's input."""
        return features


class FederatedModel(nn.Module):
    """A task's network with, or without, the adapter between its halves, and an algorithm's companion after it."""

    def __init__(
        self, network: TaskNetwork, adapter: SpectralAdapter | None, companion: AuxiliaryModule | None = None
    ) -> None:
        super().__init__()
        self.network, self.adapter, self.companion = network, adapter, companion

    def forward(self, batch: Batch) -> Output:
        """Predict for a batch that has at least ``image`` ``(batch, channels, *size)``."""
        features, context, adapted = self.encode(batch)
        tokens = features if self.companion is None else self.companion(features)
        extra_loss = None if adapted is None else adapted.alignment
        return Output(self.network.decode(tokens, context, batch), features, adapted, extra_loss)

    def reset(self) -> None:
        """Drop the previous client's setup other than weights: the adapter's bank."""
        if self.adapter is not None:
            self.adapter.use_bank(None)

    def frozen(self) -> FederatedModel:
        """Return a copy in evaluation mode, without gradients. Parameters that no gradient acts on are not copied."""
        common = {id(weight): weight for weight in self.parameters() if not weight.requires_grad}
        return deepcopy(self, common).eval().requires_grad_(False)

    def encode(self, batch: Batch) -> tuple[Tensor, Any, AdapterOutput | None]:
        """Return the features ``(batch, L, width)``, the decoder's context, and the adapter's output."""
        tokens, context = self.network.encode(batch)
        if self.adapter is None:
            return tokens, context, None
        adapted = self.adapter(tokens, batch["image"])
        return adapted.tokens, context, adapted

    @property
    def measured(self) -> Callable[[Batch], object]:
        """The part of the forward pass with running statistics: ``encode`` if only the backbone has any, else all."""
        return self.network.encode if self._backbone_alone_has_statistics else self

    @property
    def sources_of_statistics(self) -> list[str]:
        """The names of the tensors that running statistics depend on, including the statistics themselves."""
        prefix = "network.backbone." if self._backbone_alone_has_statistics else ""
        return [name for name in learned_state_dict(self) if name.startswith(prefix)]

    @property
    def _backbone_alone_has_statistics(self) -> bool:
        return len(layers_with_statistics(self.network.backbone)) == len(layers_with_statistics(self))

    def personal_names(self, parts: Iterable[str]) -> frozenset[str]:
        """Return the names of the learned tensors that stay at the client.

        ``parts`` are components of the tensors' dotted names (``backbone``, ``head``, ``adapter``,
        ``adapter.tokenizer``), ``norm`` for the backbone's normalisation layers, ``statistics`` for their running means
        and variances alone, or ``everything``. A part without learned tensors stays unchanged at every client and has
        no names here; nor have ``norm`` and ``statistics`` of a network without them.

        Raises:
            ExperimentError: a part matches nothing.
        """
        names, personal = list(self.state_dict()), set[str]()
        for part in parts:
            matching = self.names_in(part, names)
            if not matching and part not in ("norm", "statistics"):
                known = sorted(
                    {part for n in names for part in n.split(".")[:2]} | {"norm", "statistics", "everything"}
                )
                raise ExperimentError(
                    f"No part of the network is called {part!r}. Parts are {', '.join(known)}, and dotted names below "
                    f"them."
                )
            personal |= matching
        return frozenset((personal | always_personal(names)) - fixed_names(self))

    def names_in(self, part: str, names: Collection[str]) -> set[str]:
        """Return those of the tensors' names that belong to a part, as :meth:`personal_names` has it."""
        if part == "everything":
            return set(names)
        if part not in ("norm", "statistics"):
            return {name for name in names if is_part(name, part)}
        layers = {name for name, module in self.named_modules() if is_normalisation(module)}
        among = names if part == "norm" else {name for name, _ in self.named_buffers()}.intersection(names)
        return {name for name in among if name.rpartition(".")[0] in layers}
