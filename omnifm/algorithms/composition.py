"""Algorithms that build upon another one, or on settings outside their own section."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import Aggregator
from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.algorithm import Algorithm, OnMean, unchanged
from omnifm.algorithms.kinds import Kind
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.data.client_stats import ClientStats
from omnifm.spectral.bank import BankSettings
from omnifm.tasks.task import Task, TaskNetwork
from omnifm.training.model import AuxiliaryModule
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer
from omnifm.utils.errors import ExperimentError, did_you_mean


@dataclass(frozen=True)
class BuildContext:
    """What an algorithm can be built from: the checked settings of all ``sections``, ``[bank]`` and the aggregator.

    ``token_dim`` is the width of the adapter's spectral tokens, 0 if it is not known.
    """

    sections: Mapping[str, Any]
    bank: BankSettings = field(default_factory=BankSettings)
    aggregator: Aggregator = field(default_factory=WeightedMean)
    token_dim: int = 0

    def base(self, name: str, key: str) -> Algorithm:
        """Return the algorithm of this name to build upon; ``key`` is the setting that names it.

        Raises:
            ExperimentError: there is none, or it is composed itself, pools all data, or has its own circles.
        """
        bases = {
            key: algorithm
            for key, algorithm in self.sections.items()
            if isinstance(algorithm, Algorithm) and not algorithm.pools_data and not algorithm.in_circles
        }
        if name not in bases:
            raise ExperimentError(f"{key} = {name!r} is not an algorithm to build upon. {did_you_mean(name, bases)}")
        return bases[name].with_aggregator(self.aggregator)


class ComposingSettings(Protocol):
    """Settings that are not the algorithm itself but build it.

    If they name an algorithm to build upon, the field must be called ``base``: a client's policy reads it.
    """

    def build(self, context: BuildContext) -> Algorithm:
        """Return the algorithm."""
        ...


class ComposedAlgorithm(Algorithm):
    """An algorithm that extends another one, ``base``: what is below is delegated to it, unless it is overridden.

    A subclass is a frozen dataclass with the field ``base``. The aggregator is the base's, as are the seams that its
    updates use: :meth:`local_training`, :meth:`server_step`, :meth:`weight`. Uploads are checked by :meth:`expected` of
    both; a :meth:`check` that the base overrides is not called. What concerns the whole network, such as ``adapter``
    and ``in_circles``, is the subclass's.
    """

    base: Algorithm

    @property
    def personal(self) -> tuple[str, ...]:
        """As the base."""
        return self.base.personal

    @property
    def plain_sgd(self) -> bool:
        """As the base."""
        return self.base.plain_sgd

    @property
    def fixed_start(self) -> bool:
        """As the base."""
        return self.base.fixed_start

    @property
    def needs_mean(self) -> bool:
        """As the base."""
        return self.base.needs_mean

    @property
    def private_reason(self) -> str:
        """As the base."""
        return self.base.private_reason

    def epochs(self, settings: TrainingSettings) -> int:
        """As the base."""
        return self.base.epochs(settings)

    def with_aggregator(self, aggregator: Aggregator) -> Self:
        """Hand the aggregator to the base."""
        made = copy(self)
        object.__setattr__(made, "base", self.base.with_aggregator(aggregator))
        return made

    def companion(self, network: TaskNetwork, task: Task) -> AuxiliaryModule | None:
        """Add what the base adds."""
        return self.base.companion(network, task)

    def remark(self, network: TaskNetwork) -> str:
        """Say what the base says."""
        return self.base.remark(network)

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Start the base."""
        return self.base.init(shared, trainable, clients)

    def broadcast(self, state: ServerState) -> Broadcast:
        """Send what the base sends."""
        return self.base.broadcast(state)

    def message(self, state: ServerState, client: str) -> Tensors:
        """Send what the base sends."""
        return self.base.message(state, client)

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Let the base receive."""
        self.base.receive(broadcast, client, trainer)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Let the base train; use :meth:`Trainer.with_hooks` to take part."""
        return self.base.client_update(broadcast, client, trainer)

    def kinds(self, upload: Upload, trainable: Collection[str]) -> dict[str, Kind]:
        """Name the kinds as the base does."""
        return self.base.kinds(upload, trainable)

    def expected(self, broadcast: Broadcast) -> Mapping[str, Tensor]:
        """Expect what the base expects."""
        return self.base.expected(broadcast)

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        """Let the base aggregate the uploads and finish the round."""
        return self.base.server_update(state, uploads, on_mean)
