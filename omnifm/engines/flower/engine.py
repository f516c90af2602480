"""The engine whose clients are remote: the same rounds, over messages.

What a hospital keeps stays there; the server knows the digest of it, and tells from which the hospital is to go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnifm.checkpoint.client_store import StateRefs, digests_of
from omnifm.checkpoint.manager import CheckpointManager
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.core.tensors import Tensors
from omnifm.engines.flower.client_manager import ClientAnswer, ClientManager
from omnifm.engines.flower.config_exchange import public_config
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.membership import Membership
from omnifm.engines.flower.messages import Reply, Request
from omnifm.federation.loop import NO_MESSAGES, Messages, sample
from omnifm.runs.arm import Arm
from omnifm.tasks.task import Panel, Scores
from omnifm.utils.errors import DeploymentError
from omnifm.utils.signals import check_interrupts

TRIES = 3
"""How often a hospital is asked the same that loses the message, or its process, while it is connected."""


@dataclass(frozen=True)
class Job:
    """What a hospital is asked for in one message."""

    evaluations: tuple[tuple[Split, EvaluationPoint], ...] = ()
    train: bool = False


class FlowerEngine:
    """Runs an arm's clients at the hospitals. Use it as a context manager.

    To judge on validation data and to train in the round after are one message, since both begin with the same
    weights: a hospital is asked once a round. What was trained so is counted when the round comes.
    """

    def __init__(
        self,
        name: str,
        arm: Arm,
        *,
        membership: Membership,
        hospitals: ClientManager,
        checkpoints: CheckpointManager,
        settings: DeploySettings,
        weights: str = "",
    ) -> None:
        self.name, self.arm, self.membership, self.hospitals = name, arm, membership, hospitals
        self.checkpoints, self.settings, self.events = checkpoints, settings, hospitals.events
        self._experiment, self._weights = public_config(arm.experiment), weights
        self._digests: dict[str, str] = {}
        self._ahead: dict[str, Reply] = {}
        self._ahead_of = 0
        self._scores: dict[tuple[Split, EvaluationPoint], dict[str, Scores]] = {}

    def __enter__(self) -> FlowerEngine:
        return self

    def __exit__(self, *error: Any) -> None:
        """Leave the hospitals as they are: they need not know."""

    @property
    def states(self) -> StateRefs:
        """The digests of the hospitals' states."""
        return StateRefs(self._digests)

    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Go on from these states."""
        self._digests = digests_of(states)
        self._forget()

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        """Let the hospitals train; yield what they send in the order of all engines."""
        ahead = self._ahead if self._ahead_of == broadcast.round else {}
        clients = sorted(self._gathered(clients), key=lambda name: -self.membership.client_stats[name].train)
        missing = {name: Job(train=True) for name in clients if name not in ahead}
        need = min(self.settings.min_answers, len(clients)) - len(clients) + len(missing)
        answers = self._ask(broadcast, messages, missing, need) if missing else iter(())
        ready: dict[str, Reply | None] = {name: ahead[name] for name in clients if name in ahead}
        for name in clients:
            while name not in ready:
                found, reply = next(answers)
                ready[found] = reply
            reply = ready.pop(name)
            if reply is not None and reply.upload is not None:
                self._digests.pop(name, None)
                if reply.state is not None:
                    self._digests[name] = reply.state
                yield reply.upload
        self._forget()

    def evaluate(
        self,
        broadcast: Broadcast,
        clients: Sequence[str],
        split: Split,
        point: EvaluationPoint,
        messages: Messages = NO_MESSAGES,
    ) -> Iterator[tuple[str, Scores]]:
        """Let the hospitals judge; on validation data at all points at once, and train for the next round."""
        if (split, point) not in self._scores:
            self._evaluate(broadcast, messages, clients, split, point)
        yield from self._scores.pop((split, point)).items()

    def show(self, broadcast: Broadcast, name: str, point: EvaluationPoint, count: int) -> list[Panel]:
        """Return nothing: pictures are of patients and stay with them."""
        return []

    def _forget(self) -> None:
        self._ahead, self._ahead_of, self._scores = {}, 0, {}

    def _evaluate(
        self, broadcast: Broadcast, messages: Messages, clients: Sequence[str], split: Split, point: EvaluationPoint
    ) -> None:
        plays_on = split == "validation"
        federation = self.arm.experiment.federation
        points = federation.evaluate if plays_on else (point,)
        next_ones: Sequence[str] = ()
        if plays_on and broadcast.round <= federation.rounds:
            next_ones = sample(
                self.arm.participants, federation.participation, self.arm.experiment.seed, broadcast.round
            )
        evaluations = tuple((split, one) for one in points)
        jobs = {name: Job(evaluations, name in next_ones) for name in self._gathered(clients)}
        self._forget()
        self._ahead_of = broadcast.round
        self._scores = {one: {} for one in evaluations}
        for name, reply in self._ask(broadcast, messages, jobs, min(self.settings.min_answers, len(jobs))):
            if reply is None:
                continue
            for evaluation in reply.evaluations:
                self._scores[evaluation.split, evaluation.point][name] = evaluation.scores
            if jobs[name].train:
                self._ahead[name] = reply

    def _gathered(self, clients: Sequence[str]) -> list[str]:
        """Return those who are there, or have not been gone for long; wait until they are enough to begin."""
        need, told_of_waiting = min(self.settings.min_answers, len(clients)), False
        while True:
            check_interrupts()
            found = [name for name in clients if self.hospitals.gone_for(name) <= self.settings.grace]
            if len(found) >= need:
                break
            if not told_of_waiting:
                self.events.tell("waiting", text=f"{len(found)} of {need} hospitals that are needed are there")
            told_of_waiting = True
            time.sleep(self.settings.poll)
            self.hospitals.turn()
        for name in clients:
            if name not in found:
                self.events.tell("missed", name, "it is not there")
        return found

    def _ask(
        self, broadcast: Broadcast, messages: Messages, jobs: Mapping[str, Job], need: int
    ) -> Iterator[tuple[str, Reply | None]]:
        """Ask the hospitals; yield each with its answer, or with None when there will be none.

        Raises:
            DeploymentError: fewer than ``need`` can answer, since the others have refused or failed.
        """
        packed = broadcast.to_bytes()  # once for all hospitals
        waiting, reasons, told_of_waiting = dict(jobs), dict[str, str](), False
        started, answered, tries = self.hospitals.clock(), 0, dict.fromkeys(jobs, TRIES)
        while waiting:
            check_interrupts()
            for name, job in waiting.items():
                if self.hospitals.there(name) and not self.hospitals.busy(name):
                    self._send(name, broadcast.round, packed, messages.get(name), job)
            for answer in self.hospitals.turn():
                if answer.client not in waiting:
                    continue
                reply, reason = self._looked_at(answer, broadcast, messages, waiting[answer.client])
                tries[answer.client] -= answer.lost and self.hospitals.there(answer.client)
                if answer.lost and tries[answer.client]:
                    self.events.tell("lost", answer.client, f"{reason}; it is asked again")
                    continue
                del waiting[answer.client]
                answered += reply is not None
                if reply is None:
                    reasons[answer.client] = reason
                    self.events.tell("failed", answer.client, reason, round=broadcast.round)
                self._stand(answer.client, broadcast, reply, reason, self.hospitals.clock() - started)
                if answered + len(waiting) < need:
                    raise DeploymentError(
                        f"Round {broadcast.round}: {need} answers are needed (deploy.min_answers) and cannot come: "
                        + "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
                    )
                yield answer.client, reply
            if overdue := self._overdue(waiting, started):
                if answered < need:
                    if not told_of_waiting:
                        self.events.tell("waiting", text=f"{answered} of {need} answers that are needed have come")
                    told_of_waiting = True
                else:
                    for name in overdue:
                        del waiting[name]
                        self.hospitals.give_up(name)
                        self.events.tell("missed", name, "it has not answered in time", round=broadcast.round)
                        yield name, None
            if waiting:
                time.sleep(self.settings.poll)

    def _overdue(self, waiting: Iterable[str], started: float) -> list[str]:
        late = self.hospitals.clock() - started > self.settings.deadline
        return [name for name in waiting if late or self.hospitals.gone_for(name) > self.settings.grace]

    def _send(self, name: str, number: int, broadcast: bytearray, message: Tensors | None, job: Job) -> None:
        state = self._digests.get(name)
        keep = {digest for client, digest in self.checkpoints.needed if client == name}
        if name in self._ahead and (ahead := self._ahead[name].state):
            keep.add(ahead)
        request = Request(
            self.membership.run,
            self.name,
            self.hospitals.next_issue(),
            self._experiment,
            weights=self._weights,
            labels=self.membership.shape.label_names,
            vocabulary=self.membership.shape.vocabulary,
            state=state,
            keep=tuple(sorted(keep)),
            evaluations=job.evaluations,
            train=job.train,
            message=Broadcast(number, {}, message) if message else None,
        )
        self.hospitals.send(name, request.to_bytes({"broadcast": broadcast}), f"round {number}")

    def _looked_at(
        self, answer: ClientAnswer, broadcast: Broadcast, messages: Messages, job: Job
    ) -> tuple[Reply | None, str]:
        """Return the reply if it can be counted, else why not."""
        reply = answer.reply
        if reply is None:
            return None, answer.reason
        try:
            self._check(answer.client, reply, broadcast.with_message(messages.get(answer.client, {})), job)
        except (ValueError, KeyError, TypeError) as error:
            self.events.tell("rejected", answer.client, str(error), round=broadcast.round)
            return None, f"rejected: {error}"
        return reply, ""

    def _check(self, name: str, reply: Reply, broadcast: Broadcast, job: Job) -> None:
        if {(one.split, one.point) for one in reply.evaluations} != set(job.evaluations):
            raise ValueError("it was asked for other scores")
        if (reply.upload is not None) != job.train:
            raise ValueError("it has not trained" if job.train else "it was not asked to train")
        if reply.upload is None:
            return
        if reply.upload.client != name:
            raise ValueError(f"its upload is signed {reply.upload.client!r}")
        if reply.upload.samples > self.membership.client_stats[name].train:
            raise ValueError(f"{reply.upload.samples} samples are more than it has")
        self.arm.algorithm.check(reply.upload, broadcast)

    def _stand(self, name: str, broadcast: Broadcast, reply: Reply | None, reason: str, seconds: float) -> None:
        done = {"round": broadcast.round, "seconds": round(seconds, 2)} if reply else {}
        self.events.stand({name: {**done, "trouble": reason}})
        if reply:
            spent: dict[str, Any] = {f"{what}_seconds": round(value, 3) for what, value in reply.seconds.items()}
            self.events.tell("answer", name, **{"round": broadcast.round, "seconds": round(seconds, 3), **spent})
