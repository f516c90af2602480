"""Malicious hospitals: an engine in which they send something else than they have computed, and what that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from omnifm.core.records import Broadcast, Upload
from omnifm.core.tensors import Tensors
from omnifm.engines.in_process import InProcess
from omnifm.federation.loop import NO_MESSAGES, Messages
from omnifm.utils.seeding import derive_seed

Forge = Callable[[Sequence[Tensor], Tensor, torch.Generator], Tensor]
"""What a malicious hospital sends for a tensor: of the honest ones, its own, and a generator."""


def sign_flip(honest: Sequence[Tensor], own: Tensor, chance: torch.Generator) -> Tensor:
    return -5 * own


def scaling(honest: Sequence[Tensor], own: Tensor, chance: torch.Generator) -> Tensor:
    return -30 * own


def gaussian(honest: Sequence[Tensor], own: Tensor, chance: torch.Generator) -> Tensor:
    return torch.randn(own.shape, generator=chance)


def boosted(honest: Sequence[Tensor], own: Tensor, chance: torch.Generator) -> Tensor:
    return 5 * own


def a_little_more(honest: Sequence[Tensor], own: Tensor, chance: torch.Generator) -> Tensor:
    """As far from the mean as A Little Is Enough goes where it is not bound by the number of hospitals."""
    return deviations_off(honest, 1.5)


def deviations_off(honest: Sequence[Tensor], deviations: float) -> Tensor:
    """Return the mean less so many standard deviations: Baruch et al., A Little Is Enough, NeurIPS 2019."""
    stacked = torch.stack(list(honest))
    return stacked.mean(dim=0) - deviations * stacked.std(dim=0)


def forged(attack: Forge, own: Tensors, honest: Sequence[Tensors], chance: torch.Generator) -> Tensors:
    """Return what an attack makes of a hospital's own tensors; it is told the honest ones of the same name."""
    return {
        name: attack([part[name] for part in honest if name in part] or [value], value, chance)
        if value.is_floating_point()
        else value
        for name, value in own.items()
    }


class Poisoned(InProcess):
    """An engine in which some hospitals send forged uploads. They work together and know all honest ones."""

    malicious: frozenset[str] = frozenset()
    seed = 0

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        """Train all, and forge."""
        uploads = list(super().update(broadcast, clients, messages))
        honest = [upload for upload in uploads if upload.client not in self.malicious]
        for upload in uploads:
            if upload.client not in self.malicious:
                yield upload
                continue
            chance = torch.Generator().manual_seed(derive_seed(self.seed, "attack", upload.client, broadcast.round))
            lie = self.lie(upload, honest, broadcast.with_message(messages.get(upload.client, {})), chance)
            if lie is not None:
                yield lie

    def lie(
        self, upload: Upload, honest: Sequence[Upload], received: Broadcast, chance: torch.Generator
    ) -> Upload | None:
        """Return what a malicious hospital sends in place of its upload, the answer to what it has ``received``.

        None is no answer.
        """
        raise NotImplementedError
