"""Where a client belongs that took no part in training, told from its images' spectral tokens alone."""

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

FARTHER = 3.0
"""So many times as far from its circle as the farthest member from the others, a newcomer is still like them."""


@dataclass(frozen=True)
class Placement:
    """The nearest circle to a newcomer, and whether it is near.

    ``members`` are the clients of that circle, ``share`` the part of the newcomer's retrievals from their prototypes,
    ``nearness`` the cosine similarity of its prototypes to theirs (the median over its prototypes of the nearest), and
    ``usual`` the least that a member has to the others. ``message`` is what a client of the circle is sent. Without a
    circle to learn from, there are no members.
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
            return "nobody learns in a circle: it gets what all clients share"
        names = ", ".join(self.members[:6]) + (", ..." if len(self.members) > 6 else "")
        told = "it is like" if self.alike else "nobody is like it; the nearest are"
        near = f"similarity {self.nearness:.3f}, among members at least {self.usual:.3f}"
        return f"{told} {names} ({self.share:.0%} of its retrievals, {near})"


def nearest_circle(
    adapter: SpectralAdapter, bank: KnowledgeBank, settings: BankSettings, circle_of: Mapping[str, int], images: Tensor
) -> Placement:
    """Return the circle whose prototypes a newcomer's images retrieve the most.

    Args:
        adapter: holds what all clients share.
        bank: the server's.
        settings: how prototypes are made.
        circle_of: the circle of each client that is in one.
        images: ``(n, channels, *size)``.
    """
    circles = torch.tensor([circle_of.get(name, -1) for name in bank.clients.tolist()], dtype=torch.int64)
    known = sorted(set(circles.tolist()) - {-1})
    if not known:
        return Placement()
    with torch.no_grad():
        tokens = torch.cat([adapter.spectral_tokens(part) for part in torch.split(images, 64)]).cpu()
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
    """Return the least nearness of a member's entries to those of the others; -1 with the entries of one alone."""
    codes = circle.clients.codes
    found = [
        _nearness(circle.tokens[codes == code], circle.tokens[codes != code])
        for code in range(len(circle.clients.names))
        if bool((codes != code).any())
    ]
    return min(found, default=-1.0)
