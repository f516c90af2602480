"""The client's side, whatever the transport: it checks a request, does the work on its own data, and answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.circle_exchange import circle_in, expected_change
from omnifm.checkpoint.client_store import ClientStateStore, file_name
from omnifm.checkpoint.kept_weights import SCRATCH
from omnifm.config.experiment import Experiment
from omnifm.core.records import Broadcast, Upload
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.engines.flower.answered_rounds import AnsweredRounds
from omnifm.engines.flower.audit_entry import (
    about_privacy,
    about_upload,
    asked_of,
    circle_text,
    clean,
    digest_of,
    for_the_server,
    sum_context,
)
from omnifm.engines.flower.audit_log import AuditLog
from omnifm.engines.flower.client_config import ClientConfig
from omnifm.engines.flower.config_exchange import find_brought, load_client_data, localise
from omnifm.engines.flower.kept_runs import KeptRuns
from omnifm.engines.flower.messages import ClientProperties, EvaluationResult, Reply, Request
from omnifm.engines.flower.policy import (
    kept_here,
    privacy_asked_for,
    reject_experiment,
    reject_names,
    reject_patients,
    reject_size,
    reject_upload,
)
from omnifm.engines.flower.request_form import reject_form
from omnifm.engines.flower.secure_aggregation.credentials import Credentials, read_credentials
from omnifm.engines.flower.secure_aggregation.exchange import SumRequest
from omnifm.engines.flower.secure_aggregation.member import HeldUpload, SumMember, SumRefusedError
from omnifm.federation.secure_sum import SecureSum, SumLayout
from omnifm.networks.size import NetworkSizeError
from omnifm.privacy.account import EpsilonLimit, PrivacyAccount
from omnifm.privacy.secret import ClientSecret
from omnifm.privacy.vault import ClientVault
from omnifm.runs.arm import describe_data, make_arm
from omnifm.utils.errors import OmniFMError, PrivacyBudgetError
from omnifm.utils.quick_digest import quick_digest
from omnifm.utils.work_limit import WorkLimitError, limited

_log, _deploy_log = logging.getLogger("omnifm"), logging.getLogger("omnifm.deploy")


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
        request, noted = None, dict[str, Any]()
        try:
            if reason := reject_size(self.config.policy, len(data)):
                raise Refusal(reason)
            request = _read(data)
            reply, noted = self._done(request)
            answer = reply.to_bytes()
            if reason := reject_size(self.config.policy, len(answer)):
                raise Refusal(reason)
        except (Refusal, WorkLimitError, NetworkSizeError, PrivacyBudgetError) as refusal:
            told, noted = clean(str(refusal)), {}
            reply = Reply(self.config.name, "refused", told)
            answer = reply.to_bytes()
        except Exception as error:
            if not isinstance(error, OmniFMError | OSError):
                _log.exception("A request could not be answered.")
            told, noted = clean(f"{type(error).__name__}: {error}"), {}
            reply = Reply(self.config.name, "failed", for_the_server(error, self.config))
            answer = reply.to_bytes()
        else:
            told = ""
        return self._logged(request, data, reply, answer, told, noted)

    def _logged(
        self,
        request: Request | None,
        data: bytes,
        reply: Reply,
        answer: bytes,
        reason: str,
        noted: Mapping[str, Any],
    ) -> bytes:
        """Return the answer once the audit log has it; what cannot be written down does not leave."""
        number = _round_of(request) if request else 0
        asked = {"run": request.run, "arm": request.arm, "round": number} if request else {}
        trained = bool(request and request.train and reply.outcome == "done")
        about = {"outcome": reply.outcome, "reason": reason, "trained": trained, "sent": {}, **noted}
        sizes = {"request_bytes": len(data), "answer_bytes": len(answer), "answer_blake3": quick_digest(answer)}
        try:
            self.audit_log.write(**asked, **about, **sizes)
        except OSError as error:
            path, why = self.audit_log.path, error.strerror
            _log.error("The audit log %s cannot be written: %s. Nothing is answered until it can.", path, why)
            return Reply(self.config.name, "failed", "The hospital's audit log cannot be written.").to_bytes()
        if "circle" in noted:
            _deploy_log.info("%s, %s, round %d: %s.", self.config.name, asked["arm"], number, circle_text(noted))
        if reply.outcome != "done":
            _log.warning("%s: a request was not granted (%s): %s", self.config.name, reply.outcome, reason)
        return answer

    def _done(self, request: Request) -> tuple[Reply, dict[str, Any]]:
        """Return the answer, and what the audit log says of it beside."""
        experiment, policy = localise(request.experiment, self.config), self.config.policy
        _refuse(reject_experiment(policy, experiment))
        if experiment.privacy.secure_aggregation:
            self._credentials()  # before any work: without them there will be no sum
        if request.sum is not None:
            return self._summed(request, request.sum)
        torch.set_num_threads(1)  # as on every engine: the bits depend on it
        with limited(policy.minutes * 60, policy.epochs):
            with self._timed("load"):
                dataset = load_client_data(experiment, self.config, request.labels, write=True)
            if request.broadcast is not None:
                return self._worked(request, experiment, replace(dataset, vocabulary=request.vocabulary))
            introduction = _introduced(experiment, dataset, self._vault(request))
            return Reply(self.config.name, "done", introduction=introduction, seconds=self._told(experiment)), {}

    def _worked(
        self, request: Request, experiment: Experiment, dataset: FederatedDataset
    ) -> tuple[Reply, dict[str, Any]]:
        broadcast, name, policy = request.received, self.config.name, self.config.policy
        assert broadcast is not None
        _refuse(reject_patients(policy, dataset.clients[0].train.patients))
        brought = None if experiment.init == SCRATCH else find_brought(experiment, self.config, request.weights)
        with self._timed("build"):
            runtime = make_arm(experiment, dataset, brought, one_of_many=True, most=policy.parameters).runtime
        if experiment.privacy.secure_aggregation and runtime.secure_sum is None:
            raise Refusal(f"{experiment.algorithm!r} pools all data, of which there is no secure sum.")
        kept = kept_here(policy, runtime.model, runtime.weights.tensors) | runtime.personal
        if request.train:
            _refuse(reject_names(policy, [*broadcast.shared, *expected_change(broadcast)], kept))
        states = self._begun(request)
        with self._timed("work"):
            before, vault = states.read_checked(name, request.state), self._vault(request)
            scores, trained = runtime.work(broadcast, name, before, request.evaluations, request.train, vault)
        upload, after = trained or (None, None)
        noted: dict[str, Any] = {}
        if runtime.privacy:
            noted = about_privacy(vault, policy, runtime.privacy.budget.delta)
        if upload:
            kinds = runtime.kinds(upload)
            _refuse(reject_upload(policy, upload, kinds, kept))
            noted |= about_upload(upload, kinds)
            if runtime.algorithm.in_circles:
                circle = circle_in(broadcast)
                rounds = self.audit_log.rounds_in_circle(request.run, request.arm, broadcast.round, circle)
                noted |= {"circle": circle, "circle_rounds": rounds}
            if runtime.secure_sum is not None:
                self._hold(request, broadcast, upload, runtime.algorithm, runtime.secure_sum)
                upload, noted = None, {"held": noted.pop("sent"), **noted}
        state = states.keep(name, after) if after else None
        if state is not None:
            states.fsync([(name, state)])
        evaluations = tuple(
            EvaluationResult.of(*asked, found) for asked, found in zip(request.evaluations, scores, strict=True)
        )
        seconds = self._told(experiment)
        return Reply(name, "done", state=state, evaluations=evaluations, seconds=seconds, upload=upload), noted

    def _vault(self, request: Request) -> ClientVault:
        """Return the hospital's secret and its account: of all runs, since old states are removed."""
        folder, policy = self.config.state_folder, self.config.policy
        limit = EpsilonLimit(policy.max_epsilon, policy.max_delta) if policy.max_epsilon else None
        account = PrivacyAccount(folder / "privacy.json", limit)
        return ClientVault(ClientSecret(folder / "secret"), account, f"{request.run}/{request.arm}", asked_of(request))

    def _told(self, experiment: Experiment) -> dict[str, float]:
        """Return the seconds that the server is told of; in a private run none, since they depend on the patients."""
        return {} if experiment.privacy.private else self.seconds

    def _hold(
        self, request: Request, broadcast: Broadcast, upload: Upload, algorithm: Algorithm, secure_sum: SecureSum
    ) -> None:
        """Keep an upload at the hospital, until a sum is asked for."""
        if request.scale is None:
            raise Refusal("The request does not say by what the weights of a secure sum are measured.")
        algorithm.check(upload, broadcast)
        vector = SumLayout.of(algorithm, broadcast).encode(upload, algorithm, request.scale)
        held = HeldUpload.of(
            vector,
            round=broadcast.round,
            context=sum_context(request),
            threshold=secure_sum.privacy.secure_threshold,
        )
        self._member(request).hold(held)

    def _summed(self, request: Request, asked: SumRequest) -> tuple[Reply, dict[str, Any]]:
        """Answer a stage of a secure sum of what was trained before."""
        folder = self.config.state_folder / "runs"
        runs = KeptRuns(folder, self.config.keep_days, self.config.keep_runs)
        _refuse(runs.reject_old(request.run, request.issued))
        _refuse(runs.begin(request.run, request.issued))
        try:
            answer, masked = self._member(request).answer(asked)
        except SumRefusedError as error:
            raise Refusal(str(error)) from None
        noted: dict[str, Any] = {"stage": asked.stage}
        if masked is not None:
            noted["sent"] = {"masked": masked.size}
        if asked.stage in ("shares", "confirm"):
            noted["hospitals"] = len(asked.keys) + len(asked.survivors)
        return Reply(self.config.name, "done", sum=answer, masked=masked), noted

    def _member(self, request: Request) -> SumMember:
        folder = self.config.state_folder / "runs" / request.run / file_name(request.arm) / "sums"
        return SumMember(folder, self._credentials)

    def _credentials(self) -> Credentials:
        return read_credentials(Path(self.config.keys), self.config.name)

    def _begun(self, request: Request) -> ClientStateStore:
        """Take a request that may be answered; return the states of its arm, without those no longer needed."""
        assert request.broadcast is not None
        folder, policy = self.config.state_folder, self.config.policy
        runs = KeptRuns(folder / "runs", self.config.keep_days, self.config.keep_runs)
        _refuse(runs.reject_old(request.run, request.issued))
        key = (request.run, request.arm, request.broadcast.round, digest_of(request))
        answered, models = AnsweredRounds(folder / "rounds.jsonl"), policy.models_a_round
        _refuse(answered.claim(*key, a_day=policy.rounds_a_day, models=models, kept=runs.names))
        _refuse(runs.begin(request.run, request.issued))
        states = ClientStateStore(runs.folder / request.run / file_name(request.arm))
        kept = {*request.keep, *([request.state] if request.state else [])}
        states.keep_only({(self.config.name, digest) for digest in kept})
        return states

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[what] = time.perf_counter() - started


def _round_of(request: Request) -> int:
    if request.sum is not None:
        return request.sum.round
    return request.broadcast.round if request.broadcast else 0


def _refuse(reason: str) -> None:
    if reason:
        raise Refusal(reason)


def _introduced(experiment: Experiment, dataset: FederatedDataset, vault: ClientVault) -> ClientProperties:
    data_spec, plan = describe_data(experiment, dataset), privacy_asked_for(experiment)
    stats = plan.told(dataset.clients[0], vault) if plan else data_spec.client_stats[0]
    versions = {name: version(name) for name in ("omnifm", "torch")}
    return ClientProperties(stats, data_spec.shape, channels=data_spec.channels, axes=data_spec.axes, versions=versions)


def _read(data: bytes) -> Request:
    try:
        request = Request.from_bytes(data)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"The request is not understood: {error}.") from None
    _refuse(reject_form(request))
    return request
