"""What one arm of an experiment lets out of a hospital, counted, and what of it a hospital's policy refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from omnifm.algorithms.circle_exchange import expected_change
from omnifm.algorithms.kinds import Kind
from omnifm.checkpoint.kept_weights import SCRATCH
from omnifm.config.experiment import Experiment
from omnifm.core.evaluation import Split
from omnifm.core.records import Upload
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.engines.flower.client_config import ClientConfig
from omnifm.engines.flower.client_policy import ClientPolicy
from omnifm.engines.flower.config_exchange import localise, public_config
from omnifm.engines.flower.expected_upload import circle_weights, largest_upload
from omnifm.engines.flower.messages import EvaluationResult, Reply, Request
from omnifm.engines.flower.policy import (
    bytes_by_kind,
    kept_here,
    reasons_against_experiment,
    reasons_against_upload,
    reject_names,
    reject_patients,
    reject_size,
)
from omnifm.federation.secure_sum import SumLayout
from omnifm.networks.size import NetworkSizeError, size_limited
from omnifm.privacy.budget import highest_epsilon
from omnifm.runs.arm import Arm, DataSpec, build_arm
from omnifm.tasks.task import DataShape, Scores
from omnifm.utils.errors import OmniFMError

_DIGEST = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Disclosure:
    """The ``arm``, and the largest upload that it can ask of a hospital, with the kind of each tensor."""

    arm: Arm
    upload: Upload
    kinds: dict[str, Kind]

    @property
    def bytes_by_kind(self) -> Mapping[Kind, int]:
        """The bytes of each kind in the largest upload."""
        return bytes_by_kind(self.upload, self.kinds)

    @property
    def circle_bytes(self) -> int:
        """The bytes that leave only in rounds in which the hospital is in a circle with others."""
        return sum(value.nbytes for value in circle_weights(self.arm).values())

    @property
    def masked_bytes(self) -> int:
        """The bytes of the masked vector that leaves in place of an upload, with secure aggregation."""
        algorithm = self.arm.algorithm
        return 8 * SumLayout.of(algorithm, algorithm.broadcast(self.arm.start().server)).size

    @property
    def kept_bytes(self) -> dict[str, int]:
        """The bytes of the network that never leave, by the part to which the settings or the model assign them."""
        arm, found, counted = self.arm, dict[str, int](), set[str]()
        for part in (*arm.experiment.federation.personal, *arm.task.personal, *arm.algorithm.personal):
            names = arm.runtime.model.personal_names([part]) - arm.runtime.model.personal_names(()) - counted
            found[part] = sum(arm.runtime.initial[name].nbytes for name in names)
            counted |= names
        if rest := arm.runtime.personal - counted:
            found["suffix"] = sum(arm.runtime.initial[name].nbytes for name in rest)
        return {part: size for part, size in found.items() if size}

    @property
    def request_bytes(self) -> int:
        """The size of the largest request, about: its tensors and the experiment, with a full bank of prototypes."""
        arm, experiment = self.arm, self.arm.experiment
        broadcast, shape = arm.algorithm.broadcast(arm.start().server), arm.data_spec.shape
        request = Request(
            _DIGEST,
            experiment.name,
            1,
            public_config(experiment),
            labels=shape.label_names,
            vocabulary=shape.vocabulary,
            state=_DIGEST,
            broadcast=broadcast,
        )
        bank = experiment.bank.capacity * experiment.adapter.token_dim * 4 if arm.algorithm.adapter else 0
        return len(request.to_bytes()) + bank + self.circle_bytes

    @property
    def answer_bytes(self) -> int:
        """The size of the largest answer, about: its tensors, their names, and scores with their tables."""
        federation, tables = self.arm.experiment.federation, self.arm.task.table_shapes
        scores = Scores({}, {name: np.zeros(shape, np.int64) for name, shape in tables.items()})
        split: Split = "validation"
        evaluations = tuple(EvaluationResult.of(split, point, scores) for point in federation.evaluate)
        with_upload = len(Reply("A", "done", state=_DIGEST, evaluations=evaluations, upload=self.upload).to_bytes())
        return with_upload if self.arm.runtime.secure_sum is None else max(with_upload, self.masked_bytes)

    def more_per_class(self) -> int:
        """Return by how many bytes the upload grows with each further class."""
        shape = self.arm.data_spec.shape
        return self._growth(replace(shape, label_names=(*shape.label_names, "one more class")))

    def more_per_answer(self) -> int:
        """Return by how many bytes the upload grows with each further answer that is shared."""
        shape = self.arm.data_spec.shape
        return self._growth(replace(shape, vocabulary=(*shape.vocabulary, "one more answer")))

    def _growth(self, shape: DataShape) -> int:
        wider = replace(self.arm.data_spec, shape=shape)
        return disclose(self.arm.experiment, wider).upload.size - self.upload.size


def disclose(experiment: Experiment, spec: DataSpec, most: int = 0) -> Disclosure:
    """Build an arm from properties of data, on the CPU, and count what it lets out.

    The weights that it starts from are not read: they change no size. ``most`` is how many numbers the network may hold
    (0: any number).

    Raises:
        OmniFMError: the arm cannot be built.
        NetworkSizeError: it is larger.
    """
    with size_limited(most):
        arm = build_arm(replace(experiment, device="cpu", init=SCRATCH), spec)
    upload, kinds = largest_upload(arm)
    return Disclosure(arm=arm, upload=upload, kinds=kinds)


def at_hospital(experiment: Experiment, config: ClientConfig) -> Experiment:
    """Return the experiment as it is done at a hospital on its own data, but on the CPU.

    Raises:
        OmniFMError: as :func:`localise`.
    """
    return localise(public_config(replace(experiment, device="cpu")), replace(config, device="cpu"))


def refusals(
    experiment: Experiment, spec: DataSpec, config: ClientConfig, dataset: FederatedDataset | None = None
) -> Iterator[tuple[str, str]]:
    """Yield what a hospital refuses of an arm, and why: by the checks and in the order of its handler.

    Patients are counted if the hospital's ``dataset`` is given.
    """
    policy = config.policy
    try:
        local = at_hospital(experiment, config)
    except OmniFMError as error:
        yield "every request", str(error)
        return
    yield from (("every request", reason) for reason in reasons_against_experiment(policy, local))
    if dataset and (reason := reject_patients(policy, dataset.clients[0].train.patients)):
        yield "every round", reason
    try:
        found = disclose(local, spec, policy.parameters)
    except NetworkSizeError as error:
        yield "every round", f"{error} (policy.parameters = {policy.parameters})"
        return
    yield from _against_tensors(policy, found)


def _against_tensors(policy: ClientPolicy, found: Disclosure) -> Iterator[tuple[str, str]]:
    runtime = found.arm.runtime
    if runtime.privacy and policy.max_epsilon:
        cost = highest_epsilon(runtime.privacy.budget.charges.items(), policy.max_delta)
        if cost > policy.max_epsilon:
            yield (
                "every request",
                f"The run costs epsilon {cost:.3g}: above policy.max_epsilon = {policy.max_epsilon:g}.",
            )
    kept = kept_here(policy, runtime.model, runtime.weights.tensors) | runtime.personal
    if reason := reject_size(policy, found.request_bytes):
        yield "the request of every round", reason
    broadcast = found.arm.algorithm.broadcast(found.arm.start().server)
    asked = [*broadcast.shared, *expected_change(broadcast), *circle_weights(found.arm)]
    if reason := reject_names(policy, sorted(asked), kept):  # in the order of a message
        yield "training in every round", reason
    for reason in reasons_against_upload(policy, found.upload, found.kinds, kept):
        yield "the upload of every round", reason
    if reason := reject_size(policy, found.answer_bytes):
        yield "the answer of every round", reason
