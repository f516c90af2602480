"""One arm of a finished or interrupted run: each client's model and learned tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from omnifm.checkpoint.client_store import RemoteStateStore
from omnifm.config.experiment import Experiment, Plan
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.evaluation import EVALUATION_POINTS, EvaluationPoint
from omnifm.core.records import Broadcast, ClientState
from omnifm.core.tensors import Tensors
from omnifm.data.data_record import DataRecord
from omnifm.data.federated_dataset import POOLED, FederatedDataset, pooled
from omnifm.data.recorded_dataset import load_recorded
from omnifm.data.subset import ClientData, LazySubset, Subset
from omnifm.export.client_model import ClientModel
from omnifm.export.newcomer import newcomer_model
from omnifm.runs.arm import Arm, DataSpec, build_arm
from omnifm.runs.arm_folder import ArmFolder
from omnifm.runs.run import arm_folder
from omnifm.training.model import ALWAYS_PERSONAL, FederatedModel
from omnifm.utils.errors import CheckpointError, DataError, ExperimentError, did_you_mean

NOBODY = ""
"""The name of a client without personal tensors."""


@dataclass(frozen=True)
class LoadedArm:
    """An arm of a run, read from its folder. The data are read only if a model depends on them."""

    name: str
    experiment: Experiment
    folder: ArmFolder

    @classmethod
    def of(cls, run: Path, plan: Plan, name: str | None = None) -> LoadedArm:
        """Return the arm of this name in a run's folder; without a name, the only one.

        Raises:
            ExperimentError: there is none, or there are several.
        """
        if name is None and len(plan.arms) > 1:
            raise ExperimentError(f"The run has several arms: name one of them ({', '.join(plan.arms)}).")
        chosen = next(iter(plan.arms)) if name is None else name
        if chosen not in plan.arms:
            raise ExperimentError(f"There is no arm {chosen!r}. {did_you_mean(chosen, plan.arms)}")
        return cls(chosen, replace(plan.arms[chosen], device="cpu"), arm_folder(run, chosen))

    @cached_property
    def arm(self) -> Arm:
        """The arm, built on the CPU from the stored properties of the data.

        Raises:
            CheckpointError: it has not begun, or these properties are damaged.
        """
        data_spec, _ = self.folder.read_data()
        arm = build_arm(self.experiment, data_spec, self.folder.kept)
        clients = _Clients(self.experiment, data_spec, DataRecord(self.folder.path.parent))
        return replace(arm, runtime=replace(arm.runtime, clients=clients))

    @property
    def clients(self) -> tuple[str, ...]:
        """The names of the clients."""
        return self.arm.evaluated

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder.path.parent

    @property
    def best(self) -> Checkpoint:
        """The checkpoint of the round that validation chose, at the first evaluation point, without clients' states.

        Raises:
            CheckpointError: no round was chosen yet, or the file is damaged.
        """
        return self._best(self.experiment.federation.evaluate[0], here=False)

    @property
    def best_round(self) -> int:
        """The round that validation chose, at the first evaluation point."""
        return self.best.server.round

    @property
    def bank(self) -> Tensor | None:
        """The tokens of the bank after the best round, ``(entries, token_dim)``; None of an algorithm without one."""
        server = self.best.server
        return self.arm.algorithm.broadcast(server).extra.get("bank")

    def model(self, client: str | None = None, point: EvaluationPoint = "before_local_training") -> ClientModel:
        """Return the model of the round that validation chose, ready to call.

        Args:
            client: whose model, with its personal parts; None for the model that all clients share.
            point: before local training, or after it; the local training is then repeated on the client's data. At a
                point that was not evaluated, of the round that is the best at the one that was.

        Raises:
            ExperimentError: there is no such client, or the shared tensors are not a complete network.
            CheckpointError: no round was chosen yet, or a file is damaged.
            DataError: the client's data are needed and missing.
        """
        if point not in EVALUATION_POINTS:
            raise ExperimentError(f"There is no point {point!r}. {did_you_mean(point, EVALUATION_POINTS)}")
        arm = self.arm
        broadcast, state = self._received(client, point)
        own = sorted(arm.runtime.initial.keys() - broadcast.shared.keys())
        own = [name for name in own if name.rsplit(".", 1)[-1] not in ALWAYS_PERSONAL]
        if client is None and own:
            raise ExperimentError(
                f"In arm {self.name!r} {own[0]} ({len(own)} tensors in all) is not shared by all clients, so the "
                f"shared tensors are not a complete network. Name a client: {', '.join(self.clients[:8])}."
            )
        model = self._frozen(broadcast, client, state, point)
        return ClientModel(
            model,
            arm.task,
            arm.data_spec,
            allowed=self.folder.read_allowed(client or NOBODY),
            exclusive=self._exclusive(client),
            precision=self.experiment.training.precision,
        )

    def model_for(self, images: Tensor, **more: Any) -> ClientModel:
        """Return a model for a client that took no part in training, from its images alone, without labels or training.

        The images' spectra select the circle of the most similar clients (the model's ``placement``), whose weights it
        gets; statistics of batch normalisation are measured on the images. More images make both more reliable.

        Args:
            images: ``(n, channels, *size)``, float in [0, 1], as the network sees those of the data.
            more: further inputs of the task, such as ``question=["..."]``.

        Raises:
            DataError: the images have another form, or an input is missing.
            ExperimentError: parts of the network stay with the clients that trained them.
            CheckpointError: no round was chosen yet, or a file is damaged.
        """
        arm = self.arm
        client = ClientModel(
            arm.runtime.model,
            arm.task,
            arm.data_spec,
            exclusive=self._exclusive(None),
            precision=self.experiment.training.precision,
        )
        server = self.best.server
        client.model, client.placement = newcomer_model(arm, server, client.batch(images, **more))
        return client

    def _exclusive(self, client: str | None) -> bool:
        """Return whether an image has exactly one label; of all clients' together, whether that holds for each."""
        known = self.folder.read_exclusive()
        return known.get(client, True) if client else all(known.values())

    def tensors(self, client: str | None = None) -> Tensors:
        """Return the learned tensors of a client's model before local training; without a client, the shared ones.

        Raises:
            ExperimentError, CheckpointError, DataError: as :meth:`model`.
        """
        runtime = self.arm.runtime
        broadcast, state = self._received(client, self.experiment.federation.evaluate[0])
        if client is None:
            whole = {name: value for name, value in broadcast.shared.items() if name in runtime.initial}
            runtime.weights.load(whole)
        else:
            own = self._frozen(broadcast, client, state, "before_local_training").state_dict()
            whole = {name: own[name] for name in runtime.weights.tensors}
        return {name: value for name, value in whole.items() if name.startswith(("network.", "adapter."))}

    def _frozen(
        self, broadcast: Broadcast, client: str | None, state: ClientState, point: EvaluationPoint
    ) -> FederatedModel:
        """Return a client's model; the kept one where it would depend on data."""
        if client and point == "before_local_training":
            kept = self.folder.models.read(self.arm, client, broadcast.round)
            if kept is not None:
                return kept
            if self.folder.models.holds(client) and not self.folder.read_data()[1]:
                raise CheckpointError(f"The model of {client} is of another round: `omnifm deploy model` adds it anew.")
        return self.arm.runtime.frozen_model(broadcast, client or NOBODY, state, point)

    def _received(self, client: str | None, point: EvaluationPoint) -> tuple[Broadcast, ClientState]:
        """Return what a client receives after the best round of an evaluation point, and its state."""
        known = (*self.clients, POOLED) if self.arm.algorithm.pools_data else self.clients
        if client is not None and client not in known:
            raise ExperimentError(f"There is no client {client!r}. {did_you_mean(client, known)}")
        _, here = self.folder.read_data()
        kept = point == "before_local_training" and client is not None and self.folder.models.holds(client)
        if client is not None and not here and not kept:
            raise ExperimentError(
                f"The personal tensors of {client} are stored with that hospital only. `omnifm deploy model` adds its "
                "model before local training to a copy of this folder, there; or name no client."
            )
        evaluated = self.experiment.federation.evaluate
        chosen = self._best(point if point in evaluated else evaluated[0], here=here and client is not None)
        broadcast = self.arm.algorithm.broadcast(chosen.server)
        if client is None:
            return broadcast, ClientState()
        message = self.arm.algorithm.message(chosen.server, client)
        return broadcast.with_message(message), chosen.clients.get(client, ClientState())

    def _best(self, point: EvaluationPoint, *, here: bool) -> Checkpoint:
        checkpoints = self.folder.checkpoints(None if here else RemoteStateStore())
        if not checkpoints.has_best(point):
            raise CheckpointError(
                f"{self.folder.path} has no round that validation chose yet at {point!r}. Resume the run first."
            )
        return self.folder.read_best(checkpoints, point)


class _Clients(Mapping[str, ClientData]):
    """The clients of a run; their data are loaded on first use."""

    def __init__(self, experiment: Experiment, data_spec: DataSpec, record: DataRecord) -> None:
        self._experiment, self._record = experiment, record
        self._groups = {one.name: one.group for one in data_spec.client_stats}

    def __getitem__(self, name: str) -> ClientData:
        def part(split: str) -> Subset:
            return LazySubset(lambda: self._load(name, split))

        return ClientData(name, self._groups.get(name, ""), part("train"), part("validation"), part("test"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def _load(self, name: str, split: str) -> Subset:
        if name == NOBODY:
            raise DataError("This model depends on a client's own data: name a client.")
        client = pooled(self._dataset) if name == POOLED else self._dataset.client(name)
        subset: Subset = getattr(client, split)
        return subset

    @cached_property
    def _dataset(self) -> FederatedDataset:
        experiment = self._experiment
        return load_recorded(self._record, experiment.data, experiment.partition, experiment.seed, write=False)
