"""What is known of the labels of clients whose data are on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from omnifm.data.subset import ClientData


def labels_of_clients(
    clients: Mapping[str, ClientData], names: Sequence[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, bool]]:
    """Return the possible labels of each client, and whether each of its images has exactly one of them.

    Clients whose data have no labels are left out.
    """
    allowed: dict[str, tuple[str, ...]] = {}
    exclusive: dict[str, bool] = {}
    for client, data in clients.items():
        parts = (data.train, data.validation, data.test)
        if "allowed" in data.train.fields:
            possible = torch.stack([part.column("allowed").any(dim=0) for part in parts]).any(dim=0).tolist()
            allowed[client] = tuple(name for name, one in zip(names, possible, strict=True) if one)
        if "exclusive" in data.train.fields:
            exclusive[client] = all(bool(part.column("exclusive").all()) for part in parts)
    return allowed, exclusive
