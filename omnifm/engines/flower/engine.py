"""The engine whose clients are remote: the same rounds, over messages.

A hospital's state stays there; the server knows its digest, and names the one to continue from.
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
from omnifm.engines.flower.reply_checks import InvalidReplyError, check_work, checked_reply
from omnifm.engines.flower.secure_aggregation.exchange import SumRequest
from omnifm.engines.flower.set_aside import SetAside
from omnifm.federation.loop import NO_MESSAGES, Messages, sample
from omnifm.runs.arm import Arm
from omnifm.tasks.task import Panel, Scores
from omnifm.utils.errors import DeploymentError
from omnifm.utils.signals import check_interrupts

TRIES = 3
"""How often a request is sent to a connected hospital that loses the message or whose process crashes."""


@dataclass(frozen=True)
class Job:
    """The work requested from a hospital in one message: evaluation and training, or a stage of a secure sum."""

    evaluations: tuple[tuple[Split, EvaluationPoint], ...] = ()
    train: bool = False
    sum: SumRequest | None = None


class FlowerEngine:
    """Runs an arm's clients at the hospitals. Use it as a context manager.

    Validation and the next round's training are one message, as both begin with the same weights: a hospital gets one
    request a round. The upload is counted when that round comes.
    """

    def __init__(
        self,
        name: str,
        arm: Arm,
        *,
        membership: Membership,
        clients: ClientManager,
        checkpoints: CheckpointManager,
        settings: DeploySettings,
        set_aside: SetAside,
        weights: str = "",
    ) -> None:
        self.name, self.arm, self.membership, self.clients = name, arm, membership, clients
        self.checkpoints, self.settings, self.events, self.set_aside = checkpoints, settings, clients.events, set_aside
        self._experiment, self._weights, self._ahead_of = public_config(arm.experiment), weights, 0
        self._digests: dict[str, str] = {}
        self.seconds: dict[str, float] = {}  # until each hospital's last answer came
        self._ahead: dict[str, Reply] = {}
        self._scores: dict[tuple[Split, EvaluationPoint], dict[str, Scores]] = {}

    def __enter__(self) -> FlowerEngine:
        return self

    def __exit__(self, *error: Any) -> None:
        """Do nothing: the hospitals need not know."""

    @property
    def states(self) -> StateRefs:
        """The digests of the hospitals' states."""
        return StateRefs(self._digests)

    @property
    def samples(self) -> dict[str, int]:
        """The hospitals' numbers of training samples, as they introduced themselves."""
        return {name: stats.train for name, stats in self.membership.client_stats.items()}

    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Continue from these states."""
        self._digests = digests_of(states)
        self._forget()

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        """Train at the hospitals; yield their uploads in the order of all engines."""
        for name, reply in self._trained(broadcast, clients, messages):
            if reply.upload is not None:
                self._advance(name, reply)
                yield reply.upload
        self._forget()

    def _trained(self, broadcast: Broadcast, clients: Sequence[str], messages: Messages) -> Iterator[tuple[str, Reply]]:
        """Train at the hospitals that have not done so ahead; yield the replies that count."""
        ahead = self._ahead if self._ahead_of == broadcast.round else {}
        clients = sorted(self._available(clients), key=lambda name: -self.membership.client_stats[name].train)
        missing = {name: Job(train=True) for name in clients if name not in ahead}
        need = min(self.settings.min_answers, len(clients)) - len(clients) + len(missing)
        answers = self._run_jobs(broadcast, messages, missing, need) if missing else iter(())
        ready: dict[str, Reply | None] = {name: ahead[name] for name in clients if name in ahead}
        for name in clients:
            while name not in ready:
                found, reply = next(answers)
                ready[found] = reply
            if (reply := ready.pop(name)) is not None:
                yield name, reply

    def _advance(self, name: str, reply: Reply) -> None:
        """Continue a hospital from the state after its training, which counts."""
        self._digests.pop(name, None)
        if reply.state is not None:
            self._digests[name] = reply.state

    def evaluate(
        self,
        broadcast: Broadcast,
        clients: Sequence[str],
        split: Split,
        point: EvaluationPoint,
        messages: Messages = NO_MESSAGES,
    ) -> Iterator[tuple[str, Scores]]:
        """Evaluate at the hospitals; on validation data at all points at once, and train for the next round."""
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
        continues = split == "validation"
        federation = self.arm.experiment.federation
        points = federation.evaluate if continues else (point,)
        next_clients: Sequence[str] = ()
        if continues and broadcast.round <= federation.rounds:
            next_clients = sample(
                self.arm.participants, federation.participation, self.arm.experiment.seed, broadcast.round
            )
        evaluations = tuple((split, one) for one in points)
        jobs = {name: Job(evaluations, name in next_clients) for name in self._available(clients)}
        self._forget()
        self._ahead_of = broadcast.round
        self._scores = {one: {} for one in evaluations}
        for name, reply in self._run_jobs(broadcast, messages, jobs, min(self.settings.min_answers, len(jobs))):
            if reply is None:
                continue
            for evaluation in reply.evaluations:
                self._scores[evaluation.split, evaluation.point][name] = evaluation.scores
            if jobs[name].train:
                self._ahead[name] = reply

    def _available(self, clients: Sequence[str]) -> list[str]:
        """Return the clients that are connected, or not gone for long; wait until they are enough to begin."""
        need, waiting_logged = min(self.settings.min_answers, len(clients)), False
        while True:
            check_interrupts()
            admitted = [name for name in clients if name not in self.set_aside]
            found = [name for name in admitted if self.clients.gone_for(name) <= self.settings.grace]
            if len(found) >= need:
                break
            if not waiting_logged:
                aside = f"; {len(clients) - len(admitted)} are set aside" if len(admitted) < len(clients) else ""
                self.events.log("waiting", text=f"{len(found)} of {need} required hospitals are connected{aside}")
            waiting_logged = True
            time.sleep(self.settings.poll)
            self.clients.turn()
        for name in admitted:
            if name not in found:
                self.events.log("missed", name, "it is not connected")
        return found

    def _run_jobs(
        self, broadcast: Broadcast, messages: Messages, jobs: Mapping[str, Job], need: int
    ) -> Iterator[tuple[str, Reply | None]]:
        """Send the jobs to the hospitals; yield each with its answer, or None when there will be none.

        Raises:
            DeploymentError: fewer than ``need`` can answer, since others have refused or failed.
        """
        packed = broadcast.to_bytes()  # once for all hospitals
        waiting, reasons, waiting_logged = dict(jobs), dict[str, str](), False
        started, answered, tries = self.clients.clock(), 0, dict.fromkeys(jobs, TRIES)
        while waiting:
            check_interrupts()
            for name, job in waiting.items():
                if self.clients.is_connected(name) and not self.clients.busy(name):
                    self._send(name, broadcast.round, packed, messages.get(name), job)
            for answer in self.clients.turn():
                if answer.client not in waiting:
                    continue
                reply, reason = self._validated(answer, broadcast, messages, waiting[answer.client])
                tries[answer.client] -= answer.lost and self.clients.is_connected(answer.client)
                if answer.lost and tries[answer.client]:
                    self.events.log("lost", answer.client, f"{reason}; the request is sent again")
                    continue
                del waiting[answer.client]
                answered += reply is not None
                if reply is None:
                    reasons[answer.client] = reason
                    if answer.reply is None and not answer.invalid:
                        self.events.log("failed", answer.client, reason, round=broadcast.round)
                self._log_outcome(answer.client, broadcast, reply, reason, self.clients.clock() - started)
                if answered + len(waiting) < need:
                    raise DeploymentError(
                        f"Round {broadcast.round}: {need} answers are needed (deploy.min_answers) and cannot arrive: "
                        + "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
                    )
                yield answer.client, reply
            if overdue := self._overdue(waiting, started):
                if answered < need:
                    if not waiting_logged:
                        self.events.log("waiting", text=f"{answered} of {need} required answers have arrived")
                    waiting_logged = True
                else:
                    for name in overdue:
                        del waiting[name]
                        self.clients.give_up(name)
                        self.events.log("missed", name, "it has not answered in time", round=broadcast.round)
                        yield name, None
            if waiting:
                time.sleep(self.settings.poll)

    def _overdue(self, waiting: Iterable[str], started: float) -> list[str]:
        late = self.clients.clock() - started > self.settings.deadline
        return [name for name in waiting if late or self.clients.gone_for(name) > self.settings.grace]

    def _send(self, name: str, number: int, broadcast: bytearray, message: Tensors | None, job: Job) -> None:
        request = self._request(name, number, message, job)
        records = {} if job.sum else {"broadcast": broadcast}
        self.clients.send(name, request.to_bytes(records), f"round {number}")

    def _request(self, name: str, number: int, message: Tensors | None, job: Job) -> Request:
        """Return a request for a job, but for its broadcast."""
        state = self._digests.get(name)
        keep = {digest for client, digest in self.checkpoints.needed if client == name}
        if name in self._ahead and (ahead := self._ahead[name].state):
            keep.add(ahead)
        return Request(
            self.membership.run,
            self.name,
            self.clients.next_issue(),
            self._experiment,
            weights=self._weights,
            labels=self.membership.shape.label_names,
            vocabulary=self.membership.shape.vocabulary,
            state=state,
            keep=tuple(sorted(keep)),
            evaluations=job.evaluations,
            train=job.train,
            sum=job.sum,
            message=Broadcast(number, {}, message) if message else None,
        )

    def _validated(
        self, answer: ClientAnswer, broadcast: Broadcast, messages: Messages, job: Job
    ) -> tuple[Reply | None, str]:
        """Return the reply if it counts, else None and the reason."""
        reply, reason = answer.reply, answer.reason
        if reply is None:
            if answer.invalid:
                self.set_aside.reject(answer.client, reason, broadcast.round)
            return None, reason
        try:
            checked_reply(lambda: self._check(answer.client, reply, broadcast, messages, job))
        except InvalidReplyError as error:
            self.set_aside.reject(answer.client, str(error), broadcast.round)
            return None, f"rejected: {error}"
        return reply, ""

    def _check(self, name: str, reply: Reply, broadcast: Broadcast, messages: Messages, job: Job) -> None:
        stats = self.membership.client_stats[name]
        check_work(reply, stats=stats, task=self.arm.task, evaluations=job.evaluations, train=job.train)
        if reply.upload is not None:
            self.arm.algorithm.check(reply.upload, broadcast.with_message(messages.get(name, {})))

    def _log_outcome(self, name: str, broadcast: Broadcast, reply: Reply | None, reason: str, seconds: float) -> None:
        done = {"round": broadcast.round, "seconds": round(seconds, 2)} if reply else {}
        if reply and reply.upload and "epsilon" in reply.upload.notes:
            done["epsilon"] = round(reply.upload.notes["epsilon"], 3)
        self.events.update_status({name: {**done, "trouble": reason}})
        if reply:
            self.seconds[name] = seconds
            spent: dict[str, Any] = {f"{what}_seconds": round(value, 3) for what, value in reply.seconds.items()}
            self.events.log("answer", name, **{"round": broadcast.round, "seconds": round(seconds, 3), **spent})
