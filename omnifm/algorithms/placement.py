"""Which circle fits a client that took no part in training, judged by its images' spectral tokens alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean

import torch
from torch import Tensor

from omnifm.core.tensors import Tensors
from omnifm.spectral.adapter import SpectralAdapter
from omnifm.spectral.bank import BankSettings, KnowledgeBank, counted_of, retrieve
from omnifm.spectral.prototypes import fixed_prototypes

FARTHER = 1.3
"""A newcomer is like a circle up to this multiple of its members' mean distance from one another: docs/method.md."""


@dataclass(frozen=True)
class Placement:
    """The circle nearest to a newcomer, and how near it is.

    ``members`` are the clients of that circle (none if there is no circle), ``share`` is the share of the newcomer's
    retrievals that are their prototypes. ``distance`` is that of its prototypes from theirs, as distributions of keys:
    the energy distance (Szekely and Rizzo, 2013). ``usual`` is the mean of those of the members from the others.
    ``message`` is what members of the circle receive.
    """

    members: tuple[str, ...] = ()
    share: float = 0.0
    distance: float = 0.0
    usual: float = 0.0
    message: Tensors = field(default_factory=dict)

    @property
    def alike(self) -> bool:
        """Whether the newcomer is about as near to the circle as its members are to one another."""
        return bool(self.members) and self.distance <= FARTHER * self.usual

    def __str__(self) -> str:
        if not self.members:
            return "there are no circles: it gets the weights that all clients share"
        names = ", ".join(self.members[:6]) + (", ..." if len(self.members) > 6 else "")
        verdict = "it is like" if self.alike else "nobody is like it; the nearest are"
        near = f"distance {self.distance:.3f}, among members {self.usual:.3f} on average"
        return f"{verdict} {names} ({self.share:.0%} of its retrievals, {near})"


def nearest_circle(
    adapter: SpectralAdapter, bank: KnowledgeBank, settings: BankSettings, circle_of: Mapping[str, int], images: Tensor
) -> Placement:
    """Return the circle whose prototypes are nearest to a newcomer's, however many they are.

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
        keys = torch.cat([adapter.keys_of(part) for part in torch.split(images, 64)]).cpu()
    least = min(settings.min_cluster, len(keys))  # the newcomer's own prototypes stay here
    settings = replace(settings, min_cluster=least, rounded=settings.rounded and adapter.keys is not None)
    own = fixed_prototypes(keys, settings)
    entries = {circle: bank.select((circles == circle).nonzero().flatten()) for circle in known}
    distances = {circle: _energy_distance(own, (some.tokens, some.sizes)) for circle, some in entries.items()}
    best = min(known, key=distances.__getitem__)
    members = tuple(name for name, circle in circle_of.items() if circle == best)
    retrieved = circles[retrieve(keys, bank.tokens, counted_of(len(circles), adapter.settings.neighbours))[1]]
    share = float((retrieved == best).float().mean())
    return Placement(members, share, distances[best], _usual(entries[best]))


def _energy_distance(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> float:
    """Return the energy distance of two sets of prototypes ``(c, dim)``, each weighted by its size ``(c,)``."""
    (p, p_sizes), (q, q_sizes) = one, other
    v, w = p_sizes / p_sizes.sum(), q_sizes / q_sizes.sum()
    return float(2 * v @ torch.cdist(p, q) @ w - v @ torch.cdist(p, p) @ v - w @ torch.cdist(q, q) @ w)


def _usual(circle: KnowledgeBank) -> float:
    """Return the mean distance of a member's entries from those of the others; 0 if only one member has entries."""

    def entries(rows: Tensor) -> tuple[Tensor, Tensor]:
        return circle.tokens[rows], circle.sizes[rows]

    owned = [circle.clients.codes == code for code in torch.unique(circle.clients.codes)]
    return fmean([_energy_distance(entries(own), entries(~own)) for own in owned if not own.all()] or [0.0])
