"""Prototypes of fixed keys: always the same for the same images, and rounded, so that they tell little of a patient."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from omnifm.spectral.bank import BankSettings
from omnifm.spectral.kmeans import spherical_k_means
from omnifm.utils.seeding import generator

_STEP = 1.5
"""The step of rounding, in root mean squares of a component: hardly more is left of each than whether it is large, and
its sign. (Up to 2, no vector of norm 1 becomes zero.)"""
_SLACK = 1e-5
"""For norms that are not exactly 1."""


def fixed_prototypes(
    keys: Float[Tensor, "samples dim"], settings: BankSettings, patients: Int64[Tensor, "samples"] | None = None
) -> tuple[Float[Tensor, "c dim"], Int64[Tensor, "c"]]:
    """Cluster fixed keys; see :func:`spherical_k_means` for what is taken and returned.

    Neither the round nor the run's seed decides anything: means of the same patients that differ from one time to the
    next would, together, tell who they are.
    """
    tokens, sizes = spherical_k_means(
        keys, settings.prototypes, generator("prototypes"), settings.min_cluster, patients=patients
    )
    return (rounded(tokens) if settings.rounded else tokens), sizes


def rounded(tokens: Float[Tensor, "c dim"]) -> Float[Tensor, "c dim"]:
    """Round the components of vectors of norm 1, halves away from zero; the result is normalised again."""
    step = _STEP / math.sqrt(tokens.shape[-1])
    levels = (tokens.abs() / step + 0.5 + _SLACK).floor()
    return F.normalize(torch.where(levels > 0, levels.copysign(tokens), 0.0), dim=-1)
