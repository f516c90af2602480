"""The round loop, the same for all tasks and algorithms: sample, broadcast, collect, aggregate, evaluate."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Protocol

from omnifm.algorithms.aggregation.summed_mean import SUMMED_CLIENTS
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.circle_exchange import expected_change
from omnifm.callbacks.callback import Callback, CallbackResult, Event, Stop, notify
from omnifm.callbacks.events import (
    ArmInfo,
    ArmStart,
    CheckpointEvent,
    EvaluationEvent,
    RoundEvent,
    RoundStart,
    UploadEvent,
)
from omnifm.config.experiment import ChecksSettings, FederationSettings
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors, total_norm
from omnifm.federation.upload_checks import Norms, UploadChecks, refusal
from omnifm.privacy.step import UploadStep, apply_on_server
from omnifm.tasks.task import Panel, Scores
from omnifm.utils.errors import RoundRefused
from omnifm.utils.seeding import derive_seeds
from omnifm.utils.signals import check_interrupts

_log = logging.getLogger("omnifm")

Messages = Mapping[str, Tensors]
"""What each client alone receives, by name; clients that receive nothing are left out."""
NO_MESSAGES: Messages = {}


class Engine(Protocol):
    """Runs the clients and keeps their states, as the hospitals would; it is independent of the algorithm."""

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        """Train the clients, each with the broadcast and its own message; yield their uploads one by one.

        Sums depend on the order, so it is the same on every engine: by decreasing number of training samples, ties in
        the order of ``clients``.
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
        """Evaluate the clients' models, in any order; their states are not changed.

        A client that cannot be reached is left out, as in :meth:`update`.
        """
        ...

    @property
    def states(self) -> Mapping[str, ClientState]:
        """A snapshot of the clients' states by name; later training does not change it."""
        ...

    @property
    def samples(self) -> Mapping[str, int]:
        """The clients' numbers of training samples, as agreed before training."""
        ...

    @property
    def seconds(self) -> Mapping[str, float]:
        """How long each client's last update took, as far as it is known; nothing is decided by it."""
        ...

    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Replace the clients' states."""
        ...

    def show(self, broadcast: Broadcast, name: str, point: EvaluationPoint, count: int) -> list[Panel]:
        """Return pictures of a client's predictions; none if they must not leave the client."""
        ...


def sampled(participation: float, clients: int) -> int:
    """Return how many of so many clients take part in a round."""
    return max(1, round(participation * clients))


def sample(clients: Sequence[str], participation: float, seed: int, round_number: int) -> list[str]:
    """Choose a round's clients, at least one, from their names and the seed alone, in the order of ``clients``."""
    count = sampled(participation, len(clients))
    seeds = derive_seeds((seed, "sample", round_number), clients)
    chosen = set(sorted(clients, key=seeds.__getitem__)[:count])
    return [name for name in clients if name in chosen]


class Federation:
    """An algorithm, an engine and their clients.

    Args:
        algorithm: how they learn.
        engine: runs them.
        participants: names of the clients that train.
        evaluated: names of the clients that are evaluated (for a federation, the same).
        settings: rounds, participation, when to evaluate.
        seed: of the experiment.
        metric: the task's main metric; the best round has its highest mean on validation data.
        callbacks: called in this order.
        info: the arm, for callbacks.
        steps: the steps on uploads, of which this applies the server's part.
        checks: the bounds on uploads.
        summed: whether the engine yields sums over clients and no single uploads.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        engine: Engine,
        *,
        participants: Sequence[str],
        evaluated: Sequence[str],
        settings: FederationSettings,
        seed: int,
        metric: str,
        callbacks: Iterable[Callback] = (),
        info: ArmInfo | None = None,
        steps: Sequence[UploadStep] = (),
        checks: ChecksSettings | None = None,
        summed: bool = False,
    ) -> None:
        self.algorithm, self.engine, self.settings = algorithm, engine, settings
        self.participants, self.evaluated = list(participants), list(evaluated)
        self.seed, self.metric, self.callbacks, self.steps = seed, metric, list(callbacks), steps
        self.checks, self.summed = checks or ChecksSettings(), summed
        self.info = info or ArmInfo(seed=seed, rounds=settings.rounds, metric=metric, points=settings.evaluate)
        self.stop: Stop | None = None

    def run(self, checkpoint: Checkpoint) -> Checkpoint:
        """Run the remaining rounds after a checkpoint, or until a callback stops them, and return the last checkpoint.

        If a callback stopped them, its reason is in ``stop``.
        """
        self.engine.restore(checkpoint.clients)
        self._notify(Callback.on_arm_start, ArmStart(self.info, checkpoint))
        for number in range(checkpoint.server.round + 1, self.settings.rounds + 1):
            check_interrupts()
            chosen = sample(self.participants, self.settings.participation, self.seed, number)
            if self.stop or self._notify(Callback.on_round_start, RoundStart(self.info, number, chosen)):
                break
            server, norms = self._round(checkpoint, chosen)
            best, scores, improved = dict(checkpoint.best), dict(checkpoint.best_scores), []
            checkpoint = Checkpoint(server, self.engine.states, best, norms, scores)
            if number % self.settings.evaluate_every == 0 or number == self.settings.rounds or self._is_last:
                for point in self.settings.evaluate:
                    found = self.evaluate(server, "validation", point)
                    by_client = found.by_client(self.metric)
                    if point not in best or _is_better(by_client, scores.get(point, {}), best[point][1]):
                        best[point], scores[point] = (number, found.mean(self.metric)), by_client
                        improved.append(point)
            self._notify(Callback.on_checkpoint, CheckpointEvent(self.info, checkpoint, tuple(improved)))
        return checkpoint

    def evaluate(self, server: ServerState, split: Split, point: EvaluationPoint) -> EvaluationEvent:
        """Evaluate all clients, whose states the engine holds."""
        broadcast = self.algorithm.broadcast(server)
        messages = self._messages(server, self.evaluated)
        unordered = dict(self.engine.evaluate(broadcast, self.evaluated, split, point, messages))
        scores = {name: unordered[name] for name in self.evaluated if name in unordered}
        event = EvaluationEvent(self.info, server.round, split=split, point=point, scores=scores)
        self._notify(Callback.on_evaluate, event)
        return event

    def _messages(self, server: ServerState, clients: Sequence[str]) -> Messages:
        return {name: message for name in clients if (message := self.algorithm.message(server, name))}

    def _round(self, before: Checkpoint, chosen: Sequence[str]) -> tuple[ServerState, Norms]:
        started, number = time.perf_counter(), before.server.round + 1
        broadcast, messages = self.algorithm.broadcast(before.server), self._messages(before.server, chosen)
        clients: dict[str, dict[str, float]] = {}
        rejected: dict[str, str] = {}
        sizes: list[int] = []
        samples = self.engine.samples
        known = {name: samples[name] for name in self.participants if name in samples}
        checks = UploadChecks(self.checks, known, before.norms)

        def arriving() -> Iterator[Upload]:
            uploads = self.engine.update(broadcast, chosen, messages)
            if not self.summed:
                shared = (
                    before.server.norm if broadcast.shared is before.server.shared else total_norm(broadcast.shared)
                )
                sent = partial(_norm_sent, shared, broadcast, messages)
                uploads = checks.passing(uploads, sent, chosen, rejected.__setitem__)
            for upload in uploads:
                check_interrupts()
                told = {"loss": upload.loss, "samples": upload.samples, **upload.notes}
                names = ("loss", "samples", "seconds", *((SUMMED_CLIENTS,) if self.summed else ("accepted", "epsilon")))
                if upload.client in (took := self.engine.seconds) and "epsilon" not in told:
                    told["seconds"] = round(took[upload.client], 3)
                clients[upload.client] = {name: told[name] for name in names if told.get(name) is not None}
                # each client of a sum sends eight bytes for the four of a number
                sizes.append(2 * upload.notes[SUMMED_CLIENTS] * upload.size if self.summed else upload.size)
                self._notify(Callback.on_upload, UploadEvent(self.info, number, upload))
                yield upload

        try:
            on_mean = partial(apply_on_server, self.steps)
            server = self.algorithm.server_update(before.server, arriving(), on_mean)
            refused = refusal(server)
        except RoundRefused as refusal_of_engine:
            refused = str(refusal_of_engine)
        norms = checks.norms
        if refused:
            server, norms = replace(before.server, round=number), before.norms
            self.engine.restore(before.clients)
        for name, reason in rejected.items():
            _log.warning("Round %d: the upload of %s does not count: %s.", number, name, reason)
        if refused:
            _log.warning("Round %d does not count: %s.", number, refused)
        event = RoundEvent(
            self.info,
            number,
            seconds=time.perf_counter() - started,
            bytes_down=broadcast.size * len(chosen)
            + sum(v.nbytes for message in messages.values() for v in message.values()),
            bytes_up=sum(sizes),
            clients=clients,
            report={} if refused else server.notes.get("report", {}),
            rejected=rejected,
            refused=refused,
        )
        self._notify(Callback.on_round_end, event)
        return server, norms

    @property
    def _is_last(self) -> bool:
        """Whether the current round is the last because a callback ended the run for good."""
        return self.stop is not None and not self.stop.pause

    def _notify(self, method: Callable[[Callback, Event], CallbackResult], event: Event) -> Stop | None:
        requested = notify(self.callbacks, method, event)
        self.stop = self.stop or requested
        return self.stop


def _norm_sent(shared: float, broadcast: Broadcast, messages: Messages, client: str) -> float:
    """Return the norm of the weights sent to a client: those of all, whose norm is ``shared``, and its circle's."""
    return math.hypot(shared, total_norm(expected_change(broadcast.with_message(messages.get(client, {})))))


def _is_better(scores: Mapping[str, float], known: Mapping[str, float], mean: float) -> bool:
    """Return whether validation scores by client beat the ``known`` best ones, whose mean is ``mean``.

    Compared are the clients in both: without hospitals that were away, a mean is no better or worse for it.
    """
    if not scores:
        return False
    both = [name for name in scores if name in known]
    now = fmean(scores[name] for name in both or scores)
    then = fmean(known[name] for name in both) if both else mean
    return now > then or math.isnan(then)
