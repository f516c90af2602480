"""Hospitals of two kinds and an odd one, whose images have nothing in common but the task."""

from __future__ import annotations

from dataclasses import replace

import torch
from helpers import LABELS, made_client

from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import ClientData, Subset

KINDS = {"fine-1": "fine", "fine-2": "fine", "coarse-1": "coarse", "coarse-2": "coarse", "odd": "odd"}


def seen_as(kind: str, subset: Subset) -> Subset:
    """Return the images as another scanner would show them: with a wave or a slope over them."""
    place = torch.linspace(0, 1, 16)
    over = {
        "fine": torch.zeros(16, 16),
        "coarse": (6.3 * 1.5 * place).sin().expand(16, 16),
        "odd": place.expand(16, 16).T ** 2,
    }
    whole = subset.whole()
    return Subset({**whole, "image": 0.3 * whole["image"] + 0.7 * over[kind]}, subset.patients)


def hospital(name: str, kind: str, seed: int) -> ClientData:
    made = made_client(name, kind, (0, 1, 2), seed)
    train, validation, test = (seen_as(kind, part) for part in (made.train, made.validation, made.test))
    return replace(made, train=train, validation=validation, test=test)


def dataset_of_kinds() -> FederatedDataset:
    return FederatedDataset(tuple(hospital(n, kind, seed) for seed, (n, kind) in enumerate(KINDS.items())), LABELS)
