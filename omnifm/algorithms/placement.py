"""Which circle fits a client that took no part in training, judged by its images' spectral tokens alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omnifm.core.tensors import Tensors
from omnifm.spectral.adapter import SpectralAdapter
from omnifm.spectral.bank import BankSettings, KnowledgeBank, retrieve
from omnifm.spectral.kmeans import spherical_k_means
from omnifm.utils.seeding import generator

FARTHER = 2.0
"""A newcomer is like a circle up to this multiple of the distance of its farthest member from the others."""


@dataclass(frozen=True)
class Placement:
    """The circle nearest to a newcomer, and how near it is.

    ``members`` are the clients of that circle (none if there is no circle), ``share`` is the share of the newcomer's
    retrievals that are their prototypes. ``nearness`` is the cosine similarity of its prototypes to theirs: the median
    over its prototypes of that to the nearest; ``usual`` is the smallest nearness of a member to the others.
    ``message`` is what members of the circle receive.
    """

    members: tuple[str, ...] = ()
    share: float = 0.0
    nearness: float = 0.0
    usual: float = 0.0
    message: Tensors = field(default_factory=dict)

    @property
    def alike(self) -> bool:
        """Whether the newcomer is about as near to the circle as its members are to one another."""
        return bool(self.members) and 1 - self.nearness <= FARTHER * (1 - self.usual)

    def __str__(self) -> str:
        if not self.members:
            return "there are no circles: it gets the weights that all clients share"
        names = ", ".join(self.members[:6]) + (", ..." if len(self.members) > 6 else "")
        verdict = "it is like" if self.alike else "nobody is like it; the nearest are"
        near = f"similarity {self.nearness:.3f}, among members at least {self.usual:.3f}"
        return f"{verdict} {names} ({self.share:.0%} of its retrievals, {near})"


def nearest_circle(
    adapter: SpectralAdapter, bank: KnowledgeBank, settings: BankSettings, circle_of: Mapping[str, int], images: Tensor
) -> Placement:
    """Return the circle whose prototypes a newcomer's images retrieve most often.

    Args:
        adapter: with the weights that all clients share.
        bank: the server's.
        settings: of the bank, for the newcomer's prototypes.
        circle_of: the circle of each client that is in one.
        images: ``(n, channels, *size)``.
    """
    circles = torch.tensor([circle_of.get(name, -1) for name in bank.clients.tolist()], dtype=torch.int64)
    known = sorted(set(circles.tolist()) - {-1})
    if not known:
        return Placement()
    with torch.no_grad():
        tokens = torch.cat([adapter.keys_of(part) for part in torch.split(images, 64)]).cpu()
    prototypes, _ = spherical_k_means(tokens, settings.prototypes, generator("newcomer"), settings.min_cluster)
    retrieved = circles[retrieve(tokens, bank.tokens, adapter.settings.neighbours)[1]]
    counts = {circle: int((retrieved == circle).sum()) for circle in known}
    best = max(known, key=lambda circle: (counts[circle], -circle))
    members = tuple(name for name, circle in circle_of.items() if circle == best)
    entries = bank.select((circles == best).nonzero().flatten())
    nearness = _nearness(prototypes if len(prototypes) else tokens, entries.tokens)
    return Placement(members, counts[best] / retrieved.numel(), nearness, _usual(entries))


def _nearness(prototypes: Tensor, entries: Tensor) -> float:
    return float((prototypes @ entries.T).amax(dim=1).median())


def _usual(circle: KnowledgeBank) -> float:
    """Return the smallest nearness of a member's entries to those of the others; 1 if only one member has entries."""
    codes = circle.clients.codes
    nearness = [
        _nearness(circle.tokens[codes == code], circle.tokens[codes != code])
        for code in range(len(circle.clients.names))
        if bool((codes != code).any())
    ]
    return min(nearness, default=1.0)
