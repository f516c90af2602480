"""The client's side, whatever the transport: it checks a request, does the work on its own data, and answers."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from omnifm.algorithms.circle_exchange import circle_in
from omnifm.checkpoint.client_store import ClientStateStore, file_name
from omnifm.checkpoint.kept_weights import SCRATCH
from omnifm.config.experiment import Experiment
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.engines.flower.audit_log import AuditLog
from omnifm.engines.flower.client_config import ClientConfig
from omnifm.engines.flower.config_exchange import find_brought, load_client_data, localise
from omnifm.engines.flower.messages import ClientProperties, EvaluationResult, Reply, Request
from omnifm.engines.flower.policy import (
    leaving,
    reject_answers,
    reject_reason,
    reject_size,
    reject_training,
    reject_upload,
)
from omnifm.runs.arm import describe_data, make_arm
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import CheckpointError, DataError, OmniFMError

_RUN = re.compile(r"[0-9a-f]{32}")
_log, _deploy_log = logging.getLogger("omnifm"), logging.getLogger("omnifm.deploy")

_TAKEN = {1.0: "what it received", 0.5: "half of what it received", 0.0: "its own weights alone"}


class Refusal(Exception):  # noqa: N818 - what is meant, and no error
    """The request is not granted; says why."""


@dataclass
class ClientHandler:
    """Answers requests for one hospital."""

    config: ClientConfig
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def audit_log(self) -> AuditLog:
        """The log of every request."""
        return AuditLog(self.config.state_folder / "audit.jsonl")

    def answer(self, data: bytes) -> bytes:
        """Answer a request; every error is logged, and reported to the server as far as it concerns it."""
        number, request = 0, None
        try:
            if reason := reject_size(self.config.policy, len(data)):
                raise Refusal(reason)
            request = _read(data)
            number = request.broadcast.round if request.broadcast else 0
            reply, noted = self._done(request)
            answer = reply.to_bytes()
            if reason := reject_size(self.config.policy, len(answer)):
                raise Refusal(reason)
        except Refusal as refusal:
            reply, noted = Reply(self.config.name, "refused", str(refusal)), {}
            answer = reply.to_bytes()
        except Exception as error:
            if not isinstance(error, OmniFMError | OSError):
                _log.exception("A request could not be answered.")
            self._log_request(request, number, "failed", f"{type(error).__name__}: {error}", {})
            return Reply(self.config.name, "failed", _for_the_server(error)).to_bytes()
        self._log_request(request, number, reply.outcome, reply.reason, noted)
        return answer

    def _log_request(
        self, request: Request | None, number: int, outcome: str, reason: str, noted: Mapping[str, Any]
    ) -> None:
        asked = {"run": request.run, "arm": request.arm, "round": number} if request else {}
        trained = bool(request and request.train and outcome == "done")
        noted = {"sent": [], **noted}
        try:
            self.audit_log.write(**asked, outcome=outcome, reason=reason, trained=trained, **noted)
        except OSError as error:
            _log.warning("The audit log %s cannot be written: %s.", self.audit_log.path, error.strerror)
        if "circle" in noted:
            _deploy_log.info("%s, %s, round %d: %s.", self.config.name, asked["arm"], number, circle_text(noted))
        if outcome != "done":
            _log.warning("%s: a request was not granted (%s): %s", self.config.name, outcome, reason)

    def _done(self, request: Request) -> tuple[Reply, dict[str, Any]]:
        """Return the answer, and what the audit log says of it beside."""
        experiment = localise(request.experiment, self.config)
        if reason := reject_answers(self.config.policy, experiment):
            raise Refusal(reason)
        if request.broadcast is not None and (reason := reject_reason(self.config.policy, experiment)):
            raise Refusal(reason)  # an introduction commits to nothing: another arm can be permitted
        torch.set_num_threads(1)  # as on every engine: the bits depend on it
        with self._timed("load"):
            dataset = load_client_data(experiment, self.config, request.labels)
        if request.broadcast is None:
            introduction = _introduced(experiment, dataset)
            return Reply(self.config.name, "done", introduction=introduction, seconds=self.seconds), {}
        return self._worked(request, experiment, replace(dataset, vocabulary=request.vocabulary))

    def _worked(
        self, request: Request, experiment: Experiment, dataset: FederatedDataset
    ) -> tuple[Reply, dict[str, Any]]:
        broadcast, name, policy = request.received, self.config.name, self.config.policy
        assert broadcast is not None
        states = self._states(request)
        brought = None if experiment.init == SCRATCH else find_brought(experiment, self.config, request.weights)
        with self._timed("build"):
            runtime = make_arm(experiment, dataset, brought).runtime
        if request.train:
            but = (request.run, request.arm, broadcast.round)
            samples = len(dataset.clients[0].train)
            if reason := reject_training(policy, samples, self.audit_log.rounds_today(but)):
                raise Refusal(reason)
        with self._timed("work"):
            before, secret = states.read(name, request.state), states.secret(name)
            scores, trained = runtime.work(broadcast, name, before, request.evaluations, request.train, secret)
        upload, after = trained or (None, None)
        sent = leaving(runtime.kinds(upload)) if upload else []
        if reason := reject_upload(policy, sent):
            raise Refusal(reason)
        state = states.keep(name, after) if after else None
        if state is not None:
            states.fsync([(name, state)])
        evaluations = tuple(
            EvaluationResult.of(*asked, found) for asked, found in zip(request.evaluations, scores, strict=True)
        )
        noted: dict[str, Any] = {"sent": list(sent)}
        if upload and runtime.algorithm.in_circles:
            circle = circle_in(broadcast)
            rounds = self.audit_log.rounds_in_circle(request.run, request.arm, broadcast.round, circle)
            noted |= {"circle": circle, "circle_rounds": rounds}
        if upload and "accepted" in upload.notes:
            noted["accepted"] = upload.notes["accepted"]
        reply = Reply(name, "done", state=state, evaluations=evaluations, seconds=self.seconds, upload=upload)
        return reply, noted

    def _states(self, request: Request) -> ClientStateStore:
        """Return the store of the hospital's states, after removing those that are no longer needed."""
        if not _RUN.fullmatch(request.run):
            raise Refusal(f"{request.run!r} is not a valid run name.")
        folder = self.config.state_folder / "runs" / request.run
        _pass_newer(folder, request.issued)
        states = ClientStateStore(folder / file_name(request.arm))
        kept = {*request.keep, *([request.state] if request.state else [])}
        states.keep_only({(self.config.name, digest) for digest in kept})
        if request.state:
            states.check(self.config.name, request.state)
        return states

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[what] = time.perf_counter() - started


def _introduced(experiment: Experiment, dataset: FederatedDataset) -> ClientProperties:
    data_spec = describe_data(experiment, dataset)
    versions = {name: version(name) for name in ("omnifm", "torch")}
    return ClientProperties(
        data_spec.client_stats[0], data_spec.shape, channels=data_spec.channels, axes=data_spec.axes, versions=versions
    )


def circle_text(noted: Mapping[str, Any]) -> str:
    """Say with whom a hospital learns, and how much it takes of it, as the audit log has it."""
    rounds, share = noted["circle_rounds"], noted.get("accepted")
    place = "alone, in no circle" if noted["circle"] is None else f"in circle {noted['circle']}"
    text = f"{place}, for {rounds} round{'s' if rounds > 1 else ''} in a row"
    return text if share is None else f"{text}; it started from {_TAKEN.get(share, f'{share:g} of what it received')}"


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
    """Return an error without anything of the data: names of files can be those of patients."""
    if isinstance(error, CheckpointError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}; the hospital's audit log has the details."
    if isinstance(error, DataError) or not isinstance(error, OmniFMError):
        return f"{type(error).__name__}; the hospital's audit log has the details."
    return str(error)
