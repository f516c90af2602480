"""Forms of lesions as functions of place: any grid, 2D or 3D, asks them for the same lesion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from omnifm.data.phantom.anatomy import Array


class Shape(Protocol):
    """A region with a soft edge."""

    def coverage(self, points: Array) -> Array:
        """Return how much of each point ``(n, 3)``, mm in the atlas, is inside: ``(n,)`` in [0, 1]."""
        ...


@dataclass(frozen=True)
class Blob:
    """An ellipsoid with an uneven surface.

    ``axes`` ``(3, 3)`` holds its unit axes as rows, ``radii`` ``(3,)`` their half lengths in mm. ``waves``
    ``(k, 3)`` and ``phases`` ``(k,)`` make the surface uneven by about ``roughness`` (relative). ``edge`` is
    its softness in mm.
    """

    centre: Array
    axes: Array
    radii: Array
    waves: Array
    phases: Array
    roughness: float
    edge: float

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        centre: Array,
        radius: float,
        *,
        stretch: float = 0.2,
        roughness: float = 0.12,
        edge: float = 1.5,
        along: Array | None = None,
    ) -> Blob:
        """Draw a blob of mean ``radius`` mm; ``along`` is the direction of its long axis, if it has one."""
        axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        factors = np.exp(rng.normal(0, stretch, 3))
        if along is not None:
            first = along / max(float(np.linalg.norm(along)), 1e-6)
            axes = np.linalg.qr(np.column_stack([first, rng.standard_normal((3, 2))]))[0].T
            factors = np.sort(factors)[::-1]
        factors = factors / np.prod(factors) ** (1 / 3)
        return cls(
            centre=np.asarray(centre, dtype=np.float32),
            axes=axes.astype(np.float32),
            radii=(radius * factors).astype(np.float32),
            waves=rng.normal(0, 2.2, (5, 3)).astype(np.float32),
            phases=rng.uniform(0, 2 * np.pi, 5).astype(np.float32),
            roughness=roughness,
            edge=edge,
        )

    def scaled(self, factor: float) -> Blob:
        """Return the same blob ``factor`` times as large, about the same centre."""
        return Blob(self.centre, self.axes, self.radii * np.float32(factor), self.waves, self.phases,
                    self.roughness, self.edge)  # fmt: skip

    def coverage(self, points: Array) -> Array:
        """Return how much of each point ``(n, 3)`` is inside: ``(n,)`` in [0, 1]."""
        found = np.zeros(len(points), dtype=np.float32)
        reach = float(self.radii.max()) * (1 + 2 * self.roughness) + self.edge
        near = np.flatnonzero((np.abs(points - self.centre) < reach).all(axis=1))
        if len(near):
            local = (points[near] - self.centre) @ self.axes.T / self.radii
            uneven = np.sin(local @ self.waves.T + self.phases).sum(-1) * np.float32(self.roughness / 1.6)
            depth = (1 + uneven - np.sqrt(np.square(local).sum(-1))) * np.float32(self.radii.mean())
            found[near] = np.clip(0.5 + depth / np.float32(self.edge), 0, 1)
        return found


@dataclass(frozen=True)
class Wedge:
    """A cone from ``apex`` along the unit vector ``direction`` to the surface: the territory of an artery.

    ``angle`` is half the opening in radians, ``start`` where the wedge begins, mm from the apex. The waves
    make the border uneven, as in :class:`Blob`.
    """

    apex: Array
    direction: Array
    angle: float
    start: float
    waves: Array
    phases: Array
    edge: float = 3.0

    @classmethod
    def random(cls, rng: np.random.Generator, apex: Array, site: Array, radius: float) -> Wedge:
        """Draw a wedge from near ``apex`` that is about ``radius`` mm wide, to each side, at ``site``."""
        length = max(float(np.linalg.norm(site - apex)), 1.0)
        return cls(
            apex=np.asarray(apex, dtype=np.float32),
            direction=np.asarray((site - apex) / length, dtype=np.float32),
            angle=min(float(np.arctan(radius / length)), 0.9),
            start=length * float(rng.uniform(0.1, 0.5)),
            waves=rng.normal(0, 0.12, (4, 3)).astype(np.float32),
            phases=rng.uniform(0, 2 * np.pi, 4).astype(np.float32),
        )

    def coverage(self, points: Array) -> Array:
        """Return how much of each point ``(n, 3)`` is inside: ``(n,)`` in [0, 1]."""
        away = points - self.apex
        forward = away @ self.direction
        aside = np.sqrt(np.maximum(np.square(away).sum(-1) - np.square(forward), 0))
        uneven = np.sin(away @ self.waves.T + self.phases).sum(-1) * np.float32(1.5)
        inside = forward * np.float32(np.tan(self.angle)) - aside + uneven
        depth = np.minimum(inside, forward - np.float32(self.start))
        return np.asarray(np.clip(0.5 + depth / np.float32(self.edge), 0, 1), dtype=np.float32)
