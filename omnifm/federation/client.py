"""One client's work in a round, in any process and on any machine."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.kinds import Kind
from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.core.tensors import Tensors, add_prefix, digest
from omnifm.data.subset import ClientData
from omnifm.federation.acceptance import Acceptance, AcceptedBroadcast
from omnifm.federation.secure_sum import SecureSum
from omnifm.privacy.client_round import ClientRound, PrivacyPlan
from omnifm.privacy.step import UploadStep, apply_on_client
from omnifm.privacy.vault import ClientVault
from omnifm.tasks.task import Panel, Scores, Task
from omnifm.training.model import FederatedModel
from omnifm.training.private_scores import private_scores
from omnifm.training.private_trainer import PrivateTrainer
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer
from omnifm.training.weight_cache import WeightCache
from omnifm.utils.errors import NonFiniteLossError


@dataclass(kw_only=True)
class ClientRuntime:
    """One model that is used for many clients in turn.

    ``initial`` are the tensors that every client starts from, ``personal`` the names of those that stay at a client,
    ``rounds`` the planned number of rounds, for the learning-rate schedule. Every upload passes through the ``steps``;
    with a ``secure_sum`` the server gets sums of them only.
    With ``privacy``, whatever leaves has noise from the client's vault; one that is not given lasts for the call.
    """

    model: FederatedModel
    task: Task
    algorithm: Algorithm
    training: TrainingSettings
    clients: Mapping[str, ClientData]
    initial: Tensors
    personal: frozenset[str]
    seed: int
    rounds: int
    steps: list[UploadStep] = field(default_factory=list)
    acceptance: Acceptance | None = None
    secure_sum: SecureSum | None = None
    privacy: PrivacyPlan | None = None

    @cached_property
    def weights(self) -> WeightCache:
        """The model's tensors."""
        return WeightCache(self.model)

    def update(
        self, broadcast: Broadcast, name: str, state: ClientState, vault: ClientVault | None = None
    ) -> tuple[Upload, ClientState]:
        """Train one client; return its upload and its new state."""
        trained = self.work(broadcast, name, state, (), train=True, vault=vault)[1]
        assert trained is not None
        return trained

    def update_stored(
        self, broadcast: Broadcast, name: str, digest: str | None, states: ClientStateStore
    ) -> tuple[Upload, str | None, float]:
        """Train one client whose state is stored in a folder.

        Returns:
            Its upload, the digest of its new state, and the seconds that this took.
        """
        started = time.perf_counter()
        upload, after = self.update(broadcast, name, states.read(name, digest), states.vault(name))
        return upload, states.keep(name, after), time.perf_counter() - started

    def evaluate(
        self,
        broadcast: Broadcast,
        name: str,
        state: ClientState,
        split: Split,
        point: EvaluationPoint,
        vault: ClientVault | None = None,
    ) -> Scores:
        """Evaluate one client's model; its state is not changed."""
        return _scores(self._ready(broadcast, name, state, point, vault), split, point)

    def evaluate_stored(
        self,
        broadcast: Broadcast,
        name: str,
        digest: str | None,
        states: ClientStateStore,
        split: Split,
        point: EvaluationPoint,
    ) -> Scores:
        """Evaluate one client whose state is stored in a folder."""
        return self.evaluate(broadcast, name, states.read(name, digest), split, point, states.vault(name))

    def samples(self, name: str, states: ClientStateStore) -> int:
        """Return how many training samples a client tells of; in a private run patients, with noise."""
        client = self.clients[name]
        return len(client.train) if self.privacy is None else self.privacy.told(client, states.vault(name)).train

    def work(
        self,
        broadcast: Broadcast,
        name: str,
        state: ClientState,
        evaluations: Sequence[tuple[Split, EvaluationPoint]],
        train: bool,
        vault: ClientVault | None = None,
    ) -> tuple[list[Scores], tuple[Upload, ClientState] | None]:
        """Evaluate a client's model on several splits and evaluation points, and train it if ``train``.

        The results are those of :meth:`evaluate` and :meth:`update`, but the client trains at most once.
        """
        scores = {
            one: self.evaluate(broadcast, name, state, *one, vault)
            for one in evaluations
            if one[1] == "before_local_training"
        }
        if not train and len(scores) == len(evaluations):
            return [scores[one] for one in evaluations], None
        vault = vault or ClientVault()
        trainer = self._trainer(name, broadcast.round, self._private(broadcast, name, state, vault))
        upload, after = self._train(broadcast, state, trainer)
        scores |= {one: _scores(trainer, *one) for one in evaluations if one not in scores}
        leaving = (self._leaving(upload, trainer, vault), after) if train else None
        return [scores[one] for one in evaluations], leaving

    def kinds(self, upload: Upload) -> dict[str, Kind]:
        """Return the kind of each tensor of an upload."""
        return self.algorithm.kinds(upload, self.weights.trainable)

    def show(
        self,
        broadcast: Broadcast,
        name: str,
        state: ClientState,
        point: EvaluationPoint,
        count: int,
        vault: ClientVault | None = None,
    ) -> list[Panel]:
        """Return pictures of predictions on ``count`` test examples, evenly spaced."""
        trainer = self._ready(broadcast, name, state, point, vault)
        test = trainer.client.test
        rows = torch.linspace(0, len(test) - 1, min(count, len(test))).round().long()
        predicted = trainer.predict(test, rows)
        return [panel for batch, output in predicted for panel in self.task.visualise(output.prediction, batch)]

    def frozen_model(
        self, broadcast: Broadcast, name: str, state: ClientState, point: EvaluationPoint
    ) -> FederatedModel:
        """Return a copy of one client's model in evaluation mode; the state after any training is dropped."""
        return self._ready(broadcast, name, state, point).frozen()

    def _ready(
        self,
        broadcast: Broadcast,
        name: str,
        state: ClientState,
        point: EvaluationPoint,
        vault: ClientVault | None = None,
    ) -> Trainer:
        trainer = self._trainer(name, broadcast.round, self._private(broadcast, name, state, vault or ClientVault()))
        if point == "after_local_training":
            self._train(broadcast, state, trainer)
        else:
            accepted = self._accepted(broadcast, state, trainer)
            self._receive(accepted.used, accepted.client, trainer)
        return trainer

    def _receive(self, broadcast: Broadcast, state: ClientState, trainer: Trainer) -> None:
        self.algorithm.receive(broadcast, state, trainer)
        if trainer.lacks_statistics:
            trainer.measure_statistics(broadcast.round)

    def _train(self, broadcast: Broadcast, state: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        accepted = self._accepted(broadcast, state, trainer)
        if isinstance(trainer.private, ClientRound):
            trainer.private.claim_training()
        try:
            upload, after = self.algorithm.client_update(accepted.used, accepted.client, trainer)
        finally:
            self.weights.changed()  # even if the algorithm has a training loop of its own
        return accepted.finished(upload, after) if self.acceptance else (upload, after)

    def _accepted(self, broadcast: Broadcast, state: ClientState, trainer: Trainer) -> AcceptedBroadcast:
        def loss(candidate: Broadcast, inner: ClientState) -> float:
            self._receive(candidate, inner, trainer)
            try:
                return trainer.evaluate("validation").numbers["loss"]
            except NonFiniteLossError:  # so that weights which have diverged are refused
                return math.inf

        if self.acceptance is None:
            return AcceptedBroadcast(broadcast, broadcast, state)
        return self.acceptance.start(broadcast, state, trainer.client.validation, loss)

    def _leaving(self, upload: Upload, trainer: Trainer, vault: ClientVault) -> Upload:
        """Return an upload as it leaves the client: the only way out, on every engine."""
        if isinstance(trainer.private, ClientRound):
            upload = replace(upload, notes={**upload.notes, "epsilon": trainer.private.spent()})
        if not self.steps:
            return upload
        return apply_on_client(self.steps, upload, self.kinds(upload), vault.secret)

    def _private(self, broadcast: Broadcast, name: str, state: ClientState, vault: ClientVault) -> ClientRound | None:
        if self.privacy is None:
            return None
        return self.privacy.begin(vault, _key(broadcast, self.clients[name], state), broadcast.round)

    def _trainer(self, name: str, round_number: int, private: ClientRound | None = None) -> Trainer:
        self.model.reset()
        kind = Trainer if private is None else partial(PrivateTrainer, private=private)
        return kind(
            self.model,
            self.task,
            self.clients[name],
            self.training,
            self.personal,
            self.seed,
            progress=(min(round_number, self.rounds) - 1) / self.rounds,
            weights=self.weights,
            initial=self.initial,
        )


def _scores(trainer: Trainer, split: Split, point: EvaluationPoint) -> Scores:
    private = trainer.private
    if not isinstance(private, ClientRound):
        return trainer.evaluate(split)
    private.claim_scores(split, point)
    return private_scores(trainer, private, split, point)


def _key(broadcast: Broadcast, client: ClientData, state: ClientState) -> str:
    """Return a digest of what a round is computed from; of images, whose they are."""
    (sent, told), (kept, noted) = broadcast.pack(), state.pack()
    patients = [part.patients for part in (client.train, client.validation, client.test)]
    tensors = {**add_prefix("broadcast", sent), **add_prefix("state", kept)}
    return digest(tensors, json.dumps([client.name, told, noted, patients], sort_keys=True))
