"""How one person's head differs from the atlas: size, turn, shear, place, and smooth bends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omnifm.data.phantom.anatomy import CENTRE, Array

_VENTRICLES = np.array([0.0, -15.0, 15.0], dtype=np.float32)


@dataclass(frozen=True)
class Deformation:
    """Maps points of the patient to points of the atlas, both in mm.

    ``matrix`` ``(3, 3)`` and ``shift`` ``(3,)`` are the affine part about the middle of the head. ``waves``,
    ``phases`` and ``bends`` (``(k, 3)``, ``(k,)``, ``(k, 3)``: 1/mm, radians, mm) are sine waves of
    displacement. ``swelling`` widens the ventricles (positive) or narrows them.
    """

    matrix: Array
    shift: Array
    waves: Array
    phases: Array
    bends: Array
    swelling: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> Deformation:
        """Draw a plausible adult head; the ranges are chosen by us."""
        scale = rng.normal(1.0, 0.035) * np.exp(rng.normal(0, 0.02, 3))
        nod, tilt, turn = rng.normal(0, np.radians([3.0, 2.0, 3.0]))
        matrix = _rotation(nod, tilt, turn) @ (np.diag(scale) + np.triu(rng.normal(0, 0.015, (3, 3)), 1))
        if rng.random() < 0.5:
            matrix = matrix @ np.diag([-1.0, 1.0, 1.0])  # left becomes right
        count = 10
        direction = rng.standard_normal((count, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = rng.uniform(70, 200, (count, 1))  # mm; the longer, the wider the bend may be
        bends = rng.standard_normal((count, 3)) * 0.75 * (length / 100)
        return cls(
            matrix=matrix.astype(np.float32),
            shift=rng.normal(0, 3.0, 3).astype(np.float32),
            waves=(2 * np.pi * direction / length).astype(np.float32),
            phases=rng.uniform(0, 2 * np.pi, count).astype(np.float32),
            bends=bends.astype(np.float32),
            swelling=float(rng.uniform(-0.15, 0.35)),
        )

    def to_atlas(self, points: Array) -> Array:
        """Return where the points ``(n, 3)`` of the patient are in the atlas, ``(n, 3)``."""
        found = (points - CENTRE) @ self.matrix.T + (CENTRE + self.shift)
        found = found + np.sin(found @ self.waves.T + self.phases) @ self.bends
        away = found - _VENTRICLES
        near = np.exp(np.square(away).sum(-1, keepdims=True) / np.float32(-2 * 28.0**2))
        return np.asarray(found - np.float32(self.swelling) * near * away, dtype=np.float32)

    def to_patient(self, points: Array) -> Array:
        """Return where the points ``(n, 3)`` of the atlas are in the patient: :meth:`to_atlas`, inverted."""
        inverse = np.linalg.inv(self.matrix)
        found = (points - CENTRE - self.shift) @ inverse.T + CENTRE
        for _ in range(25):
            found = found + (points - self.to_atlas(found)) @ inverse.T
        return np.asarray(found, dtype=np.float32)


def _rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return the rotation about the three axes by angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
