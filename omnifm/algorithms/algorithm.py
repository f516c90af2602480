"""The contract of an algorithm, and FedAvg's frame with the seams in which the others differ.

The same object runs in process and over the network: on the server ``init``, ``broadcast``, ``message`` and
``server_update``; at a client ``receive`` and ``client_update``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import ClassVar, Self

from torch import Tensor

from omnifm.algorithms.aggregation.aggregator import Aggregator, Mean
from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.kinds import Kind, default_kinds
from omnifm.algorithms.placement import Placement
from omnifm.algorithms.validation import check_plain, check_tensors
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors, apply, difference
from omnifm.data.client_stats import ClientStats
from omnifm.tasks.task import Task, TaskNetwork
from omnifm.training.hooks import LocalTraining
from omnifm.training.model import AuxiliaryModule, FederatedModel
from omnifm.training.settings import TrainingSettings
from omnifm.training.trainer import Trainer

OnMean = Callable[[Mean], Mean]


def unchanged(mean: Mean) -> Mean:
    """Return the mean as it is."""
    return mean


class Algorithm:
    """Federated averaging (McMahan et al., AISTATS 2017) as a frame: ``x <- x + D``.

    The seams: :meth:`local_training` (changes to local training), :meth:`server_step` (what the server does with the
    mean change D), ``personal`` (what stays at the client) and :meth:`message` (what one client alone receives). How
    uploads become D is the experiment's choice: the ``aggregator``, which is not a setting of the algorithm.

    ``adapter`` is whether the network has the spectral adapter unless the experiment decides; ``pools_data`` is for the
    baseline that is not a federation.
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
        """Whether the rule only holds for SGD without momentum."""
        return False

    @property
    def needs_mean(self) -> bool:
        """Whether the server's memory must be the mean over clients, so that one client's upload cannot replace it."""
        return False

    @property
    def in_circles(self) -> tuple[str, ...]:
        """The parts of the network that are averaged within circles of similar clients, not over all clients."""
        return ()

    @property
    def fixed_start(self) -> bool:
        """Whether the rule holds only where local training starts from what was received, so that nothing is chosen."""
        return False

    @property
    def compares(self) -> bool:
        """Whether clients compare what they receive with their own weights, unless the experiment decides."""
        return False

    @property
    def learned_keys(self) -> bool:
        """Whether the keys of the adapter are learned, unless the experiment decides."""
        return False

    @property
    def needs_uploads(self) -> str:
        """Why the server must see single uploads, so that sums of them are not enough; "" if they are.

        An algorithm that does more with uploads than :meth:`aggregate`, or sends a client a message of its own, says so
        by itself; override it if it is wrong.
        """
        own = type(self)
        if own.server_update is not Algorithm.server_update or own.aggregate is not Algorithm.aggregate:
            return "its server update is its own, and may look at single uploads"
        return "" if own.message is Algorithm.message else "each client may train from weights of its own"

    @property
    def private_reason(self) -> str:
        """Why it cannot take part in a private run, in half a sentence; "" if it can.

        It can if all that it sends, keeps and trains with follows from what was received, the trainer's weights, hooks
        on losses and gradients, and :func:`~omnifm.algorithms.bank_upload.make_bank_upload`: these have noise.
        """
        return "it does not declare that all it sends follows from weights with noise (private_reason)"

    @property
    def offers_prototypes(self) -> bool:
        """Whether prototypes are made where the network has an adapter."""
        return False

    def epochs(self, settings: TrainingSettings) -> int:
        """Return how often a client passes over its training data in a round, for all models and phases together."""
        return settings.epochs

    def with_aggregator(self, aggregator: Aggregator) -> Self:
        """Return this algorithm with another aggregator."""
        made = copy(self)
        object.__setattr__(made, "aggregator", aggregator)  # beside the fields, which are frozen and settings
        return made

    def companion(self, network: TaskNetwork, task: Task) -> AuxiliaryModule | None:
        """Return the modules that the algorithm adds to the network, or None.

        Raises:
            IncompatibleError: the algorithm does not support this task; says why.
        """
        return None

    def remark(self, network: TaskNetwork) -> str:
        """Return a note to print beside this algorithm's results; usually empty."""
        return ""

    def caution(self, patients: Mapping[str, int]) -> str:
        """Return a sentence on what these clients cannot take part in; usually empty.

        Args:
            patients: how many patients each client has for training.
        """
        return ""

    def init(self, shared: Tensors, trainable: Collection[str], clients: Sequence[ClientStats]) -> ServerState:
        """Return the server's state before the first round.

        Args:
            shared: the initial weights and buffers.
            trainable: names of those that gradients act on; the server may optimise no others.
            clients: name, group and numbers of examples of every client, sampled or not.
        """
        return ServerState(shared)

    def broadcast(self, state: ServerState) -> Broadcast:
        """Return what all clients of the next round receive."""
        return Broadcast(state.round + 1, state.shared)

    def message(self, state: ServerState, client: str) -> Tensors:
        """Seam 4: return what this client alone receives, by default nothing.

        It is added to ``extra`` of the broadcast that :meth:`receive` and :meth:`client_update` get, and replaces
        tensors of the same name there.
        """
        return {}

    def place(self, state: ServerState, model: FederatedModel, images: Tensor) -> Placement:
        """Return the circle of a client that took no part in training, and its message; by default neither.

        Args:
            state: the server's.
            model: with the weights that all clients share.
            images: the client's, ``(n, channels, *size)``, as the network sees them.
        """
        return Placement()

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Load this client's model before local training: the shared weights and its own personal ones."""
        trainer.load(broadcast.shared, client.personal)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Train for the local epochs; the trainer then holds the client's model after local training."""
        self.receive(broadcast, client, trainer)
        fit = trainer.fit(broadcast.round, self.local_training(broadcast, client, trainer))
        change = difference(trainer.views(shared=True), broadcast.shared)
        upload = Upload(trainer.client.name, fit.samples, fit.loss, change)
        return upload, replace(client, personal=trainer.tensors(shared=False))

    def server_update(self, state: ServerState, uploads: Iterable[Upload], on_mean: OnMean = unchanged) -> ServerState:
        """Aggregate the uploads, one at a time, and finish the round; ``on_mean`` may change the mean first."""
        after = self.server_step(state, on_mean(self.aggregate(uploads)))
        return replace(after, round=state.round + 1)

    def aggregate(self, uploads: Iterable[Upload]) -> Mean:
        """Return the mean of the uploads."""
        return self.aggregator.aggregate(uploads, self.weight)

    def kinds(self, upload: Upload, trainable: Collection[str]) -> dict[str, Kind]:
        """Return the kind of each tensor of an upload, under ``change/name`` or ``extra/name``.

        ``trainable`` are the names of the parameters that gradients act on.
        """
        return default_kinds(upload, trainable)

    def check(self, upload: Upload, broadcast: Broadcast) -> None:
        """Check a client's upload against the broadcast that it answers.

        Raises:
            ValueError: it has other tensors, shapes or types, or an impossible number; says which.
        """
        check_plain(upload)
        check_tensors(upload.change, broadcast.shared, "change", upload.norm)
        check_tensors(upload.extra, self.expected(broadcast), "extra")

    def expected(self, broadcast: Broadcast) -> Mapping[str, Tensor]:
        """Return tensors like those in a client's ``extra``; length 0 stands for an axis of any length."""
        return {}

    def local_training(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> LocalTraining:
        """Seam 1: return the changes to local training. It is called after :meth:`receive`."""
        return LocalTraining()

    def server_step(self, state: ServerState, mean: Mean) -> ServerState:
        """Seam 2: move the shared weights by the mean change."""
        return replace(state, shared=apply(state.shared, mean.change))

    def weight(self, upload: Upload) -> float:
        """Return a client's weight in the mean: its training samples."""
        return float(upload.samples)
