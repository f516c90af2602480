"""The contract of an algorithm, and FedAvg's frame with the seams in which the others differ.

The same object runs in process and over the network: on the server ``init``, ``broadcast``, ``message`` and
``server_update``; at a client ``receive`` and ``client_update``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import ClassVar, Self

from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import Aggregator, Mean
from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.kinds import Kind, default_kinds
from omnifm.algorithms.placement import Placement
from omnifm.algorithms.validation import check_tensors
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors, apply, difference
from omnifm.data.client_stats import ClientStats
from omnifm.tasks.task import Task, TaskNetwork
from omnifm.training.hooks import LocalTraining
from omnifm.training.model import AuxiliaryModule, FederatedModel
from omnifm.training.trainer import Trainer

OnMean = Callable[[Mean], Mean]


def unchanged(mean: Mean) -> Mean:
    """Return the mean as it is."""
    return mean


class Algorithm:
    """Federated averaging (McMahan et al., AISTATS 2017) as a frame: ``x <- x + D``.

    The seams: :meth:`local_training` (what is changed in local training), :meth:`server_step` (what is done with the
    mean change D), ``personal`` (what stays at the client) and :meth:`message` (what one client alone is sent). How
    uploads become D is the experiment's choice: the ``aggregator``, which is no setting of an algorithm.

    ``adapter`` tells whether the network has the spectral adapter unless the experiment says so; ``pools_data`` is for
    the baseline that is no federation.
    """

    adapter: ClassVar[bool] = False
    pools_data: ClassVar[bool] = False
    aggregator: ClassVar[Aggregator] = WeightedMean()

    @property
    def personal(self) -> tuple[str, ...]:
        """Seam 3: the parts of the network that stay at the client."""
        return ()

    @property
    def plain_sgd(self) -> bool:
        """Whether the rule holds for SGD without momentum only."""
        return False

    @property
    def needs_mean(self) -> bool:
        """Whether the server's memory is the mean of what the clients keep, so that one client's upload will not do."""
        return False

    @property
    def in_circles(self) -> tuple[str, ...]:
        """The parts of the network that are averaged over clients that are alike, not over all."""
        return ()

    @property
    def compares(self) -> bool:
        """Whether clients compare what they receive with their own weights, unless the experiment says so."""
        return False

    def with_aggregator(self, aggregator: Aggregator) -> Self:
        """Return this algorithm with another aggregator."""
        made = copy(self)
        object.__setattr__(made, "aggregator", aggregator)  # beside the fields, which are frozen and settings
        return made

    def companion(self, network: TaskNetwork, task: Task) -> AuxiliaryModule | None:
        """Return the modules that the algorithm adds to the network, or None.

        Raises:
            IncompatibleError: it cannot serve this task; says why.
        """
        return None

    def remark(self, network: TaskNetwork) -> str:
        """Return what must be said beside this algorithm's results; mostly nothing."""
        return ""

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Return the server's state before the first round.

        Args:
            shared: the first weights and buffers.
            trainable: names of those that gradients act on; no other may be optimised at the server.
            clients: name, group and numbers of examples of every client, whether it takes part in a round or not.
        """
        return ServerState(shared)

    def broadcast(self, state: ServerState) -> Broadcast:
        """Return what the clients of the next round receive."""
        return Broadcast(state.round + 1, state.shared)

    def message(self, state: ServerState, client: str) -> Tensors:
        """Seam 4: return what this client alone receives, by default nothing.

        The client finds it in the broadcast's ``extra``, over what has the same name there; :meth:`receive` and
        :meth:`client_update` see no difference.
        """
        return {}

    def place(self, state: ServerState, model: FederatedModel, images: Tensor) -> Placement:
        """Return where a client belongs that took no part, and what it alone receives; by default nothing.

        Args:
            state: the server's.
            model: holds what all clients share.
            images: the client's, ``(n, channels, *size)``, as the network sees them.
        """
        return Placement()

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Make the trainer's model this client's, *as received*: the shared weights under its own personal ones."""
        trainer.load(broadcast.shared, client.personal)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Train for the local epochs; the trainer's model is then this client's, *personalised*."""
        self.receive(broadcast, client, trainer)
        fit = trainer.fit(broadcast.round, self.local_training(broadcast, client, trainer))
        change = difference(trainer.views(shared=True), broadcast.shared)
        upload = Upload(trainer.client.name, fit.samples, fit.loss, change)
        return upload, replace(client, personal=trainer.tensors(shared=False))

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        """Take in the uploads, one at a time, and finish the round; ``on_mean`` may change the mean before the step."""
        after = self.server_step(state, on_mean(self.aggregate(uploads)))
        return replace(after, round=state.round + 1)

    def aggregate(self, uploads: Iterable[Upload]) -> Mean:
        """Return what the uploads come to."""
        return self.aggregator.aggregate(uploads, self.weight)

    def kinds(self, upload: Upload, trainable: Collection[str]) -> dict[str, Kind]:
        """Return the kind of each tensor of an upload, under ``change/name`` or ``extra/name``.

        ``trainable`` are the names of the parameters that gradients act on.
        """
        return default_kinds(upload, trainable)

    def check(self, upload: Upload, broadcast: Broadcast) -> None:
        """Make sure that what a client sent is what it may send in answer to a broadcast.

        Raises:
            ValueError: it has other tensors, shapes or types, or a number that is not finite; says which.
        """
        check_tensors(upload.change, broadcast.shared, "change")
        check_tensors(upload.extra, self.expected(broadcast), "extra")
        if not 0 < upload.samples < 2**31 or not math.isfinite(upload.loss):
            raise ValueError(f"{upload.samples} samples with a loss of {upload.loss} are not possible")
        accepted = upload.notes.get("accepted", 1.0)
        if not isinstance(accepted, (int, float)) or not 0 <= accepted <= 1:
            raise ValueError(f"a share of {accepted!r} cannot have been accepted")

    def expected(self, broadcast: Broadcast) -> Mapping[str, Tensor]:
        """Return tensors like those in a client's ``extra``; an axis whose length is free has none, 0."""
        return {}

    def local_training(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> LocalTraining:
        """Seam 1: return what is changed in local training. The trainer has just received."""
        return LocalTraining()

    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        """Seam 2: move the shared weights by the mean change."""
        return replace(state, shared=apply(state.shared, mean.change))

    def weight(self, upload: Upload) -> float:
        """Return a client's weight in the mean: its training samples."""
        return float(upload.samples)
