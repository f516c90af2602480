"""The engine for one machine: clients one after another, or side by side in worker processes.

One worker or many, the bits are the same: each client computes on one thread, its randomness derives from the seed, its
name and the round, and uploads come in one order, the longest training first. Clients' states are on disk, so that
memory grows with the workers and not with the clients.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from omnifm.checkpoint.client_store import ClientStateStore, StoredStates
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.engines.process_pool import ProcessPoolEngine
from omnifm.federation.client import ClientRuntime
from omnifm.federation.loop import NO_MESSAGES, Messages
from omnifm.tasks.task import Panel, Scores
from omnifm.workers.memory import keep_heap, return_large_blocks


class InProcess:
    """Runs clients on this machine. Use it as a context manager.

    Args:
        runtime: the clients, and what they have in common.
        workers: how many run at a time; one is this process itself.
        states: the folder for the clients' states; without it, a temporary one.
    """

    def __init__(self, runtime: ClientRuntime, workers: int = 1, states: ClientStateStore | None = None) -> None:
        torch.set_num_threads(1)
        workers = min(workers, len(runtime.clients))
        for module in ("torch._dynamo", *(runtime.task.imports if workers > 1 else ())):
            importlib.import_module(module)  # else every worker does, which takes seconds
        folder = states or ClientStateStore.temporary()
        self.runtime, self._states = runtime, StoredStates(folder)
        self._seconds: dict[str, float] = {}
        self._process_pool = ProcessPoolEngine(runtime, folder, workers) if workers > 1 else None
        if self._process_pool is None:
            keep_heap()
        else:
            return_large_blocks()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._process_pool is not None:
            self._process_pool.close()

    @property
    def states(self) -> StoredStates:
        """The clients' states as they are now; a client whose state is empty has none."""
        return StoredStates(self._states.folder, self._states.digests)

    @property
    def samples(self) -> dict[str, int]:
        """The clients' numbers of training samples; in a private run, of patients with noise."""
        return {name: self.runtime.samples(name, self._states.folder) for name in self.runtime.clients}

    @property
    def seconds(self) -> dict[str, float]:
        """How long each client's last update took where it was computed."""
        return self._seconds

    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Replace the clients' states."""
        folder = self._states.folder
        if isinstance(states, StoredStates) and states.folder == folder:
            self._states = StoredStates(folder, states.digests)
        else:
            self._states = StoredStates(folder, {name: folder.write(name, state) for name, state in states.items()})

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        """Train the clients and yield their uploads, those with the most training samples first, or a sum of them."""
        uploads = self._trained(broadcast, clients, messages)
        if self.runtime.secure_sum is None:
            return uploads
        return self.runtime.secure_sum.unmasked(uploads, broadcast, self.runtime.algorithm, self.samples)

    def _trained(self, broadcast: Broadcast, clients: Sequence[str], messages: Messages) -> Iterator[Upload]:
        clients = sorted(clients, key=lambda name: -len(self.runtime.clients[name].train))
        folder, digests = self._states.folder, self._states.digests
        done = (
            (
                self.runtime.update_stored(
                    broadcast.with_message(messages.get(name, {})), name, digests.get(name), folder
                )
                for name in clients
            )
            if self._process_pool is None
            else self._process_pool.update(broadcast, clients, digests, messages)
        )
        for name, (upload, digest, seconds) in zip(clients, done, strict=True):
            digests.pop(name, None)
            if digest is not None:
                digests[name] = digest
            self._seconds[name] = seconds
            yield upload

    def evaluate(
        self,
        broadcast: Broadcast,
        clients: Sequence[str],
        split: Split,
        point: EvaluationPoint,
        messages: Messages = NO_MESSAGES,
    ) -> Iterator[tuple[str, Scores]]:
        """Evaluate the clients and yield their scores."""
        clients = sorted(clients, key=lambda name: -len(getattr(self.runtime.clients[name], split)))
        if self._process_pool is not None:
            return self._process_pool.evaluate(broadcast, clients, self._states.digests, split, point, messages)
        return ((name, self._evaluated(broadcast, name, split, point, messages)) for name in clients)

    def _evaluated(
        self, broadcast: Broadcast, name: str, split: Split, point: EvaluationPoint, messages: Messages
    ) -> Scores:
        received = broadcast.with_message(messages.get(name, {}))
        folder, digest = self._states.folder, self._states.digests.get(name)
        return self.runtime.evaluate_stored(received, name, digest, folder, split, point)

    def _state(self, name: str) -> ClientState:
        return self._states.folder.read(name, self._states.digests.get(name))

    def show(self, broadcast: Broadcast, name: str, point: EvaluationPoint, count: int) -> list[Panel]:
        """Return pictures of a client's predictions."""
        vault = self._states.folder.vault(name)
        return self.runtime.show(broadcast, name, self._state(name), point, count, vault)
