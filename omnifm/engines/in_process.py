"""The engine for one machine: clients one after another, or side by side in forked worker processes.

One worker or many, the bits are the same: each client computes on one thread, and its randomness derives from the
seed, its name and the round. Workers inherit the data by forking; broadcasts and uploads pass as safetensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from omnifm.algorithms.state import Broadcast, ClientState, Upload
from omnifm.crew import Crew, told_if_one_dies
from omnifm.federation import Reading, Split
from omnifm.site import Site
from omnifm.tasks.task import Panel, Scores

T = TypeVar("T")
_site: Site  # in a worker: the site it inherited


class InProcess:
    """Runs a site's clients on this machine, ``workers`` at a time. Use it as a context manager."""

    def __init__(self, site: Site, workers: int = 1) -> None:
        torch.set_num_threads(1)
        self.site = site
        self._states: dict[str, ClientState] = {}
        self._workers = min(workers, len(site.clients))
        self._crew = Crew(self._workers, _inherit, site) if self._workers > 1 else None

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._crew is not None:
            self._crew.__exit__(*error)

    @property
    def states(self) -> dict[str, ClientState]:
        """The clients' states by name, of those that have taken part."""
        return dict(self._states)

    def restore(self, states: Mapping[str, ClientState]) -> None:
        """Replace the clients' states."""
        self._states = dict(states)

    def update(self, broadcast: Broadcast, clients: Sequence[str]) -> Iterator[Upload]:
        """Train the clients and yield their uploads in the order given."""
        if self._crew is None:
            for name in clients:
                upload, self._states[name] = self.site.update(broadcast, name, self._state(name))
                yield upload
            return
        packed = broadcast.to_bytes()
        for name, result in self._spread(
            lambda name: self._submit(_update, packed, name, self._state(name).to_bytes()), clients
        ):
            self._states[name] = ClientState.from_bytes(result[1])
            yield Upload.from_bytes(result[0])

    def evaluate(
        self, broadcast: Broadcast, clients: Sequence[str], split: Split, reading: Reading
    ) -> Iterator[tuple[str, Scores]]:
        """Judge the clients and yield their scores in the order given."""
        if self._crew is None:
            for name in clients:
                yield name, self.site.evaluate(broadcast, name, self._state(name), split, reading)
            return
        packed = broadcast.to_bytes()
        yield from self._spread(
            lambda name: self._submit(_evaluate, packed, name, self._state(name).to_bytes(), split, reading),
            clients,
        )

    def show(self, broadcast: Broadcast, name: str, reading: Reading, count: int) -> list[Panel]:
        """Return pictures of a client's predictions."""
        return self.site.show(broadcast, name, self._state(name), reading, count)

    def _state(self, name: str) -> ClientState:
        return self._states.get(name, ClientState())

    def _submit(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        assert self._crew is not None
        return self._crew.submit(work, *arguments)

    def _spread(self, submit: Callable[[str], Future[T]], clients: Sequence[str]) -> Iterator[tuple[str, T]]:
        """Keep the workers busy, two tasks each at most, and yield results in order."""
        waiting: list[tuple[str, Future[T]]] = []
        ahead = iter(clients)
        try:
            for name in clients:
                with told_if_one_dies():
                    while len(waiting) < 2 * self._workers and (following := next(ahead, None)) is not None:
                        waiting.append((following, submit(following)))
                    result = waiting.pop(0)[1].result()
                yield name, result
        finally:
            for _, future in waiting:
                future.cancel()


def _inherit(site: Site) -> None:
    global _site
    _site = site


def _update(broadcast: bytes, name: str, state: bytes) -> tuple[bytes, bytes]:
    upload, after = _site.update(Broadcast.from_bytes(broadcast), name, ClientState.from_bytes(state))
    return upload.to_bytes(), after.to_bytes()


def _evaluate(broadcast: bytes, name: str, state: bytes, split: Split, reading: Reading) -> Scores:
    return _site.evaluate(Broadcast.from_bytes(broadcast), name, ClientState.from_bytes(state), split, reading)
