"""The contract of an algorithm, and FedAvg's frame with the three seams in which the others differ.

The same object runs in process and over the network: on the server ``init``, ``broadcast`` and ``server_update``; at
a client ``receive``, ``client_update`` and ``personalise``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from omnifm.algorithms.aggregation import apply, difference, mean_change
from omnifm.algorithms.state import Broadcast, ClientState, ServerState, Tensors, Upload
from omnifm.training import Correction, Trainer


class Algorithm:
    """Federated averaging (McMahan et al., AISTATS 2017) as a frame: ``x <- x + D``.

    The three seams: :meth:`correction` (a term in the local gradient), :meth:`server_step` (what is done with the
    mean change D) and ``personal`` (what stays at the client). ``adapter`` tells whether the network has the
    spectral adapter unless the experiment says so; ``pools_data`` is for the yardstick that is no federation.
    """

    personal: ClassVar[tuple[str, ...]] = ()
    adapter: ClassVar[bool] = False
    pools_data: ClassVar[bool] = False

    def init(self, shared: Tensors) -> ServerState:
        """Return the server's state before the first round."""
        return ServerState(shared)

    def broadcast(self, state: ServerState) -> Broadcast:
        """Return what the clients of the next round receive."""
        return Broadcast(state.round + 1, state.shared)

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        """Make the trainer's model this client's, *as received*: the shared weights under its own personal ones."""
        trainer.load(broadcast.shared, client.personal)

    def client_update(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> tuple[Upload, ClientState]:
        """Train for the local epochs; the trainer's model is then this client's, *personalised*."""
        self.receive(broadcast, client, trainer)
        fit = trainer.fit(broadcast.round, correct=self.correction(broadcast, client, trainer))
        change = difference(trainer.tensors(shared=True), broadcast.shared)
        upload = Upload(trainer.client.name, fit.samples, fit.loss, change)
        return upload, ClientState(trainer.tensors(shared=False), client.memory, client.notes)

    def server_update(self, state: ServerState, uploads: Iterable[Upload]) -> ServerState:
        """Take in the uploads, one at a time, and finish the round."""
        return self.server_step(state, mean_change(uploads))

    def correction(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> Correction | None:
        """Seam 1: return what changes the local gradients, or None."""
        return None

    def server_step(self, state: ServerState, change: Tensors) -> ServerState:
        """Seam 2: move the shared weights by the mean change."""
        return ServerState(apply(state.shared, change), state.round + 1, state.memory, state.notes)
