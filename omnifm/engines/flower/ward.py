"""A hospital's side, whatever brings the letters: it checks a request, does the work on its own data, and answers."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import torch

from omnifm.algorithms.checks import kinds
from omnifm.arm import make_arm, outlined
from omnifm.data.cohort import Cohort
from omnifm.engines.desk import Desk
from omnifm.engines.flower.hospital import HospitalSettings
from omnifm.engines.flower.ledger import Ledger
from omnifm.engines.flower.letters import Introduction, Judgement, Reply, Request
from omnifm.engines.flower.permits import (
    objection,
    objection_to_sending,
    objection_to_size,
    objection_to_telling,
    objection_to_training,
)
from omnifm.engines.flower.sharing import find_brought, load_hospital, understood
from omnifm.errors import CheckpointError, DataError, OmniFMError
from omnifm.experiment import Experiment
from omnifm.files import write_atomically
from omnifm.pretrained.given import SCRATCH
from omnifm.states import StateFolder, file_name

_RUN = re.compile(r"[0-9a-f]{32}")
_log = logging.getLogger("omnifm")


class Refusal(Exception):  # noqa: N818 - what is meant, and no error
    """The request is not granted; says why."""


@dataclass
class Ward:
    """Answers requests for one hospital."""

    hospital: HospitalSettings
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        """What is written down of every request."""
        return Ledger(self.hospital.state_folder / "ledger.jsonl")

    def answer(self, data: bytes) -> bytes:
        """Answer a request, whatever it is; all that goes wrong is written down, and told as far as the server's."""
        reply, sent, number, request = Reply(self.hospital.name, "failed", "no request"), [], 0, None
        try:
            if reason := objection_to_size(self.hospital.permits, len(data)):
                raise Refusal(reason)
            request = _read(data)
            number = request.broadcast.round if request.broadcast else 0
            reply = self._done(request)
            sent = kinds(reply.upload) if reply.upload else []
            if reason := objection_to_size(self.hospital.permits, len(reply.to_bytes())):
                raise Refusal(reason)
        except Refusal as refusal:
            reply = Reply(self.hospital.name, "refused", str(refusal))
        except Exception as error:
            if not isinstance(error, OmniFMError | OSError):
                _log.exception("A request could not be answered.")
            self._write_down(request, number, "failed", f"{type(error).__name__}: {error}", [])
            return Reply(self.hospital.name, "failed", _for_the_server(error)).to_bytes()
        self._write_down(request, number, reply.outcome, reply.reason, sent if reply.outcome == "done" else [])
        return reply.to_bytes()

    def _write_down(self, request: Request | None, number: int, outcome: str, reason: str, sent: list[str]) -> None:
        asked = {"run": request.run, "arm": request.arm, "round": number} if request else {}
        trained = bool(request and request.train and outcome == "done")
        try:
            self.ledger.write(**asked, outcome=outcome, reason=reason, trained=trained, sent=sent)
        except OSError as error:
            _log.warning("The ledger %s cannot be written: %s.", self.ledger.path, error.strerror)
        if outcome != "done":
            _log.warning("%s: a request was not granted (%s): %s", self.hospital.name, outcome, reason)

    def _done(self, request: Request) -> Reply:
        experiment = understood(request.experiment, self.hospital)
        if reason := objection_to_telling(self.hospital.permits, experiment):
            raise Refusal(reason)
        if request.broadcast is not None and (reason := objection(self.hospital.permits, experiment)):
            raise Refusal(reason)  # to say who one is commits to nothing: another arm may be permitted
        torch.set_num_threads(1)  # as on every engine: the bits depend on it
        with self._timed("load"):
            cohort = load_hospital(experiment, self.hospital, request.labels)
        if request.broadcast is None:
            return Reply(self.hospital.name, "done", introduction=_introduced(experiment, cohort), seconds=self.seconds)
        return self._worked(request, experiment, replace(cohort, vocabulary=request.vocabulary))

    def _worked(self, request: Request, experiment: Experiment, cohort: Cohort) -> Reply:
        assert request.broadcast is not None
        name, permits = self.hospital.name, self.hospital.permits
        desk = self._desk(request, experiment, cohort)
        if request.train:
            but = (request.run, request.arm, request.broadcast.round)
            samples = len(cohort.clients[0].train)
            if reason := objection_to_training(permits, samples, self.ledger.rounds_today(but)):
                raise Refusal(reason)
        with self._timed("work"):
            scores, trained = desk.work(request.broadcast, name, request.state, request.judge, request.train)
        upload, state = trained or (None, None)
        if upload and (reason := objection_to_sending(permits, kinds(upload))):
            raise Refusal(reason)
        if state is not None:
            desk.states.settle([(name, state)])
        judgements = tuple(Judgement.of(*asked, found) for asked, found in zip(request.judge, scores, strict=True))
        return Reply(name, "done", "", None, state, judgements, self.seconds, upload)

    def _desk(self, request: Request, experiment: Experiment, cohort: Cohort) -> Desk:
        """Return where the work is done, after what is no longer needed there has been removed."""
        if not _RUN.fullmatch(request.run):
            raise Refusal(f"{request.run!r} is no name of a run.")
        folder = self.hospital.state_folder / "runs" / request.run
        _pass_newer(folder, request.issued)
        states = StateFolder(folder / file_name(request.arm))
        kept = {*request.keep, *([request.state] if request.state else [])}
        states.keep_only({(self.hospital.name, digest) for digest in kept})
        if request.state:
            states.check(self.hospital.name, request.state)
        brought = None if experiment.init == SCRATCH else find_brought(experiment, self.hospital, request.weights)
        with self._timed("build"):
            arm = make_arm(experiment, cohort, brought)
        return Desk(arm.site, states)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[what] = time.perf_counter() - started


def _introduced(experiment: Experiment, cohort: Cohort) -> Introduction:
    outline = outlined(experiment, cohort)
    versions = {name: version(name) for name in ("omnifm", "torch")}
    return Introduction(outline.holdings[0], outline.shape, outline.channels, outline.axes, versions)


def _read(data: bytes) -> Request:
    try:
        return Request.from_bytes(data)
    except ValueError as error:
        raise Refusal(f"The request is not understood: {error}.") from None


def _pass_newer(folder: Path, issued: int) -> None:
    """Let a request pass that is newer than all before it; one that the server has given up may still come."""
    path = folder / "issued"
    latest = int(path.read_text()) if path.exists() else 0
    if issued < latest:
        raise Refusal("The request is older than one that was answered.")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, str(issued).encode())


def _for_the_server(error: Exception) -> str:
    """Say what went wrong without a word of the data: the names of files may be those of patients."""
    if isinstance(error, CheckpointError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}; the hospital's ledger says more."
    if isinstance(error, DataError) or not isinstance(error, OmniFMError):
        return f"{type(error).__name__}; the hospital's ledger says more."
    return str(error)
