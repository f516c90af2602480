"""The one round loop: sample, broadcast, collect, aggregate, evaluate. It asks neither task nor algorithm its name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from omnifm.algorithms.algorithm import Algorithm
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.experiment import EvaluationPoint as EvaluationPoint
from omnifm.experiment import FederationSettings
from omnifm.privacy.step import UploadStep, apply_on_server
from omnifm.tasks.task import Scores
from omnifm.utils.seeding import derive_seeds

Split = Literal["validation", "test"]
Messages = Mapping[str, Tensors]
"""What clients receive that others do not, by name; those that receive nothing are left out."""
NO_MESSAGES: Messages = {}


class Engine(Protocol):
    """Runs the clients; knows no algorithm. It keeps each client's state, as the hospitals would."""

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        """Let the clients train, each on the broadcast with its own message; yield their uploads one by one.

        The order is the same on every engine, since sums depend on it: by the number of training samples, the most
        first, and among equals the order of ``clients``.
        """
        ...

    def evaluate(
        self,
        broadcast: Broadcast,
        clients: Sequence[str],
        split: Split,
        point: EvaluationPoint,
        messages: Messages = NO_MESSAGES,
    ) -> Iterator[tuple[str, Scores]]:
        """Let the clients judge their model, in any order; their states stay as they are.

        A client that cannot be reached is left out, here as in :meth:`update`.
        """
        ...

    @property
    def states(self) -> Mapping[str, ClientState]:
        """The clients' states by name, as they are now; what trains on later does not change it."""
        ...

    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Replace the clients' states."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the rounds to come depend on. ``best`` holds ``(round, score)`` by evaluation point, from validation."""

    server: ServerState
    clients: Mapping[str, ClientState] = field(default_factory=dict)
    best: dict[str, tuple[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundEvent:
    """A finished round: bytes sent to and by its clients, ``clients`` with loss and samples, the algorithm's report."""

    round: int
    seconds: float
    bytes_down: int
    bytes_up: int
    clients: dict[str, dict[str, float]]
    report: dict[str, Any]


@dataclass(frozen=True)
class EvaluationEvent:
    """All clients judged on one split at one evaluation point, after ``round`` rounds."""

    round: int
    split: Split
    point: EvaluationPoint
    scores: dict[str, Scores]

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over the clients that have it."""
        values = [s.numbers[metric] for s in self.scores.values() if metric in s.numbers]
        return sum(values) / len(values) if values else float("nan")


class Callback:
    """What others may do as the rounds go by. Override what you need."""

    def round_started(self, number: int, clients: Sequence[str]) -> None:
        """A round begins with these clients."""

    def client_done(self, upload: Upload) -> None:
        """One client's upload has come."""

    def round_done(self, event: RoundEvent) -> None:
        """The server has taken in a round."""

    def evaluated(self, event: EvaluationEvent) -> None:
        """All clients have been judged."""

    def improved(self, point: EvaluationPoint, checkpoint: Checkpoint) -> None:
        """The checkpoint is the best so far at this evaluation point, by the mean over clients on validation data."""

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """All of a round is done: from here the run could go on after any crash."""


def sampled(participation: float, clients: int) -> int:
    """Return how many of so many clients take part in a round."""
    return max(1, round(participation * clients))


def sample(clients: Sequence[str], participation: float, seed: int, round_number: int) -> list[str]:
    """Choose a round's clients, at least one, by their names and the seed alone, in the order of ``clients``."""
    count = sampled(participation, len(clients))
    seeds = derive_seeds((seed, "sample", round_number), clients)
    ranked = sorted(clients, key=seeds.__getitem__)
    chosen = set(ranked[:count])
    return [name for name in clients if name in chosen]


class Federation:
    """An algorithm, an engine and their clients.

    Args:
        algorithm: how they learn.
        engine: who runs them.
        participants: names of the clients that train.
        judged: names of the clients that are evaluated (for a federation, the same).
        settings: rounds, participation, when to evaluate.
        seed: of the experiment.
        metric: the task's main metric; the best round has its highest mean on validation data.
        callbacks: called in this order.
        steps: what is done to uploads; here, to their mean.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        engine: Engine,
        participants: Sequence[str],
        evaluated: Sequence[str],
        settings: FederationSettings,
        seed: int,
        metric: str,
        callbacks: Iterable[Callback] = (),
        steps: Sequence[UploadStep] = (),
    ) -> None:
        self.algorithm, self.engine, self.settings = algorithm, engine, settings
        self.participants, self.evaluated = list(participants), list(evaluated)
        self.seed, self.metric, self.callbacks, self.steps = seed, metric, list(callbacks), steps

    def run(self, checkpoint: Checkpoint) -> Checkpoint:
        """Play the rounds that a checkpoint still lacks, or until nothing improves, and return the last one."""
        self.engine.restore(checkpoint.clients)
        while checkpoint.server.round < self.settings.rounds and not self.stalled(checkpoint):
            server = self._round(checkpoint.server)
            best = dict(checkpoint.best)
            checkpoint = Checkpoint(server, self.engine.states, best)
            if server.round % self.settings.evaluate_every == 0 or server.round == self.settings.rounds:
                for point in self.settings.evaluate:
                    score = self.evaluate(server, "validation", point).mean(self.metric)
                    if point not in best or score > best[point][1]:
                        best[point] = (server.round, score)
                        for callback in self.callbacks:
                            callback.improved(point, checkpoint)
            for callback in self.callbacks:
                callback.checkpoint(checkpoint)
        return checkpoint

    def stalled(self, checkpoint: Checkpoint) -> bool:
        """Tell whether no score has improved in the last ``patience`` evaluations."""
        patience, every = self.settings.patience, self.settings.evaluate_every
        latest = max((number for number, _ in checkpoint.best.values()), default=0)
        return 0 < patience <= checkpoint.server.round // every - latest // every

    def evaluate(self, server: ServerState, split: Split, point: EvaluationPoint) -> EvaluationEvent:
        """Judge all clients, whose states the engine holds."""
        broadcast = self.algorithm.broadcast(server)
        messages = self._messages(server, self.evaluated)
        found = dict(self.engine.evaluate(broadcast, self.evaluated, split, point, messages))
        scores = {name: found[name] for name in self.evaluated if name in found}
        event = EvaluationEvent(server.round, split, point, scores)
        for callback in self.callbacks:
            callback.evaluated(event)
        return event

    def _messages(self, server: ServerState, clients: Sequence[str]) -> Messages:
        return {name: message for name in clients if (message := self.algorithm.message(server, name))}

    def _round(self, server: ServerState) -> ServerState:
        started, number = time.perf_counter(), server.round + 1
        chosen = sample(self.participants, self.settings.participation, self.seed, number)
        for callback in self.callbacks:
            callback.round_started(number, chosen)
        broadcast, messages = self.algorithm.broadcast(server), self._messages(server, chosen)
        clients: dict[str, dict[str, float]] = {}
        sizes: list[int] = []

        def arriving() -> Iterator[Upload]:
            for upload in self.engine.update(broadcast, chosen, messages):
                clients[upload.client] = {"loss": upload.loss, "samples": upload.samples}
                sizes.append(upload.size)
                for callback in self.callbacks:
                    callback.client_done(upload)
                yield upload

        server = self.algorithm.server_update(server, arriving(), lambda mean: apply_on_server(self.steps, mean))
        event = RoundEvent(
            number,
            time.perf_counter() - started,
            broadcast.size * len(chosen) + sum(v.nbytes for message in messages.values() for v in message.values()),
            sum(sizes),
            clients,
            server.notes.get("report", {}),
        )
        for callback in self.callbacks:
            callback.round_done(event)
        return server
