"""Decoders that an attacker trains on images of its own, from what leaves a hospital back to a picture."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HELD_OUT, _LOOK_EVERY = 0.1, 10


def trained_decoder(inputs: Tensor, images: Tensor, chance: torch.Generator, epochs: int) -> Callable[[Tensor], Tensor]:
    """Return a function from inputs ``(n, numbers)`` to pictures ``(n, 1, h, w)``.

    A network of two hidden layers adds to the mean image. It is the one of all epochs that is best on a tenth of the
    attacker's images, which it was not trained on.

    Args:
        inputs: what the attacker computes from its own images as a hospital would, ``(n, numbers)``.
        images: those images, ``(n, 1, h, w)``.
        chance: draws the initial weights, the order of training and the tenth.
        epochs: how often it passes over the images.
    """
    mean, centre, spread = images.mean(dim=0), inputs.mean(dim=0), inputs.std(dim=0) + 1e-6
    rows, rest = ((inputs - centre) / spread), (images - mean).flatten(1)
    order = torch.randperm(len(rows), generator=chance)
    held, own = order.tensor_split([int(_HELD_OUT * len(rows))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (), generator=chance)))
        layers = (nn.Linear(rows.shape[1], 256), nn.GELU(), nn.Linear(256, 256), nn.GELU())
        network = nn.Sequential(*layers, nn.Linear(256, rest.shape[1]))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, kept = float("inf"), {name: value.clone() for name, value in network.state_dict().items()}
    for epoch in range(epochs):
        for part in own[torch.randperm(len(own), generator=chance)].split(64):
            optimizer.zero_grad()
            F.mse_loss(network(rows[part]), rest[part]).backward()
            optimizer.step()
        schedule.step()
        if epoch % _LOOK_EVERY == _LOOK_EVERY - 1 or epoch == epochs - 1:
            with torch.no_grad():
                error = float(F.mse_loss(network(rows[held]), rest[held]))
            if error < best:
                best, kept = error, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)

    def decode(found: Tensor) -> Tensor:
        with torch.no_grad():
            return network((found - centre) / spread).view(-1, *images.shape[1:]) + mean

    return decode
