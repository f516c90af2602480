"""Rounds without an engine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import torch
from helpers import made_holdings
from torch import Tensor

from omnifm.algorithms.algorithm import Algorithm
from omnifm.core.records import ClientState, ServerState, Upload
from omnifm.runs.arm import Arm
from omnifm.training.trainer import Trainer


def made_upload(client: str, samples: int, **change: float | list[float] | Tensor) -> Upload:
    return Upload(client, samples, 0.0, {name: torch.as_tensor(value) for name, value in change.items()})


def quadratic_start(algorithm: Algorithm, weight: float, clients: int) -> ServerState:
    """Return the state before the first round of :func:`helpers.quadratic_trainer`'s problem."""
    shared = {"network.weight": torch.tensor([weight]), "network.head.bias": torch.zeros(1)}
    return algorithm.init(shared, ["network.weight"], made_holdings(clients))


def play(
    algorithm: Algorithm, state: ServerState, trainers: Mapping[str, Trainer], clients: dict[str, ClientState]
) -> ServerState:
    """Play a round of all these clients, whose states it renews in place."""
    broadcast, uploads = algorithm.broadcast(state), []
    for name, trainer in trainers.items():
        upload, clients[name] = algorithm.client_update(broadcast, clients.get(name, ClientState()), trainer)
        uploads.append(upload)
    return algorithm.server_update(state, uploads)


def settled(algorithm: Algorithm, trainers: Mapping[str, Trainer], rounds: int, start: float = -4.0) -> float:
    """Return where the shared number of the quadratic is after so many rounds."""
    state, clients = quadratic_start(algorithm, start, len(trainers)), dict[str, ClientState]()
    for _ in range(rounds):
        state = play(algorithm, state, trainers, clients)
    return float(state.shared["network.weight"])


def arm_rounds(
    arm: Arm, rounds: int, away: Mapping[int, Collection[str]] | None = None
) -> Iterator[tuple[ServerState, list[Upload], ServerState]]:
    """Yield the state before, the uploads and the state after each round of an arm, judging nothing.

    ``away`` are the clients that drop out, by round.
    """
    state, clients = arm.start().server, dict[str, ClientState]()
    for number in range(1, rounds + 1):
        broadcast, uploads = arm.algorithm.broadcast(state), []
        for name in arm.participants:
            if name not in (away or {}).get(number, ()):
                upload, clients[name] = arm.runtime.update(broadcast, name, clients.get(name, ClientState()))
                uploads.append(upload)
        after = arm.algorithm.server_update(state, uploads)
        yield state, uploads, after
        state = after
