"""Prototypes and retrievals that may leave in a private run: sums over patients with Gaussian noise."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.spectral.bank import BankSettings, counted_of, retrieve
from omnifm.spectral.kmeans import spherical_k_means
from omnifm.training.private import PrivateRound, Release, rows_by_patient
from omnifm.training.trainer import Trainer
from omnifm.utils.seeding import generator

_TOKENS, _HITS = 0.8, 0.6
"""The weights of a patient's token and of its retrievals in what it contributes, whose norm is at most 1."""
_CLEAR = 2.0
"""Deviations of noise above which a number of retrievals is told."""


class NoisedPrototypes(NamedTuple):
    """Prototypes ``(c, dim)`` with their ``sizes`` ``(c,)``, and the ``counts`` ``(m,)`` of the retrieved ``rows``."""

    tokens: Tensor
    sizes: Tensor
    rows: Tensor
    counts: Tensor


def private_prototypes(
    trainer: Trainer, private: PrivateRound, round_number: int, settings: BankSettings
) -> NoisedPrototypes:
    """Return noised prototypes of the client's training images; in a round in which none are due, nothing.

    Each patient counts once, with the mean of the tokens of all its images. It belongs to the entry of the received
    bank that is nearest (of a large bank, the nearest of ``settings.prototypes`` means of entries; without a bank
    all are together): what divides the patients is known to all. A prototype that is more noise than tokens is left
    out. The size of one is an estimate too, from the length of its sum, and mostly too low.
    """
    adapter = trainer.model.adapter
    assert adapter is not None
    bank, dim = adapter.bank.cpu(), adapter.settings.token_dim
    nothing = torch.zeros(0, dtype=torch.int64)
    if not private.prototypes_due:
        return NoisedPrototypes(torch.zeros(0, dim), nothing, nothing, nothing)
    anchors = bank
    if len(bank) > settings.prototypes:
        stream = generator(trainer.seed, trainer.client.name, round_number, "prototypes")
        anchors, _ = spherical_k_means(bank, settings.prototypes, stream, min_cluster=1)
    neighbours = counted_of(len(bank), adapter.settings.neighbours) if adapter.settings.retrieval and len(bank) else 0
    sums = torch.zeros(max(1, len(anchors)), dim, dtype=torch.float64)
    hits = torch.zeros(len(bank), dtype=torch.float64)
    train = trainer.client.train
    patients = rows_by_patient(train)
    for rows in patients:
        images = trainer.task.prepare_batch(train.batch(rows))["image"].to(trainer.device)
        with torch.inference_mode():
            tokens = adapter.keys_of(images).cpu()
        mean = tokens.mean(dim=0)
        sums[int((anchors @ mean).argmax()) if len(anchors) else 0] += mean
        if neighbours:
            hits += retrieve(tokens, bank, neighbours)[1].flatten().bincount(minlength=len(bank)) / len(rows)
    scale = math.sqrt(max(1, neighbours))
    told = private.patients(Release.PATIENTS, len(patients))
    both = torch.cat([_TOKENS * sums.flatten(), _HITS * hits / scale])
    deviation = private.deviation(Release.PROTOTYPES, 1.0)
    noised = private.noised(Release.PROTOTYPES, both, 1.0, round_number)
    sums, hits = noised[: sums.numel()].view_as(sums) / _TOKENS, noised[sums.numel() :] * scale / _HITS
    tokens, sizes = _clear_prototypes(sums, deviation / _TOKENS, settings.min_cluster, told)
    counts = hits.round().clamp(max=told).long()
    clear = (hits > _CLEAR * deviation * scale / _HITS).logical_and(counts > 0).nonzero().flatten()
    return NoisedPrototypes(tokens, sizes, clear, counts[clear])


def _clear_prototypes(sums: Tensor, deviation: float, least: int, most: int) -> tuple[Tensor, Tensor]:
    """Return the directions ``(c, dim)`` of those sums that have more in them than noise, and their sizes.

    A sum of m unit vectors is at most m long. Only sizes of ``least`` or more count, of ``most`` together.
    """
    squares, noise = sums.square().sum(dim=1), sums.shape[1] * deviation**2
    sizes = (squares - noise).clamp(min=0).sqrt()
    sizes = (sizes * min(1.0, most / max(float(sizes.sum()), 1e-9))).floor().long()
    kept = (squares >= 2 * noise).logical_and(sizes >= least).nonzero().flatten()
    return F.normalize(sums[kept], dim=1).float(), sizes[kept]
