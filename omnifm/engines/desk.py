"""Where one client's work is done: its state is taken from its file, and what became of it put into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.federation.client import ClientRuntime
from omnifm.tasks.task import Panel, Scores


@dataclass(frozen=True)
class Desk:
    """A site, and the folder of its clients' states. A state is named by its digest; an empty one has none."""

    runtime: ClientRuntime
    states: ClientStateStore

    def update(self, broadcast: Broadcast, client: str, state: str | None) -> tuple[Upload, str | None]:
        """Train a client; return its upload and its new state."""
        upload, after = self.runtime.update(broadcast, client, self._read(client, state))
        return upload, self._written(client, after)

    def work(
        self,
        broadcast: Broadcast,
        client: str,
        state: str | None,
        evaluations: Sequence[tuple[Split, EvaluationPoint]],
        train: bool,
    ) -> tuple[list[Scores], tuple[Upload, str | None] | None]:
        """Judge a client's model and train it; return the scores and, if it was trained, upload and new state."""
        scores, trained = self.runtime.work(broadcast, client, self._read(client, state), evaluations, train)
        return scores, trained and (trained[0], self._written(client, trained[1]))

    def evaluate(
        self, broadcast: Broadcast, client: str, state: str | None, split: Split, point: EvaluationPoint
    ) -> Scores:
        """Judge a client's model; its state stays as it is."""
        return self.runtime.evaluate(broadcast, client, self._read(client, state), split, point)

    def show(
        self, broadcast: Broadcast, client: str, state: str | None, point: EvaluationPoint, count: int
    ) -> list[Panel]:
        """Return pictures of a client's predictions."""
        return self.runtime.show(broadcast, client, self._read(client, state), point, count)

    def _written(self, client: str, state: ClientState) -> str | None:
        return None if state == ClientState() else self.states.write(client, state)

    def _read(self, client: str, state: str | None) -> ClientState:
        return ClientState() if state is None else self.states.read(client, state)
