"""The state of a federation between two rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from omnifm.core.records import ClientState, ServerState


@dataclass(frozen=True)
class Checkpoint:
    """Everything that later rounds depend on.

    ``best`` holds ``(round, score)`` by evaluation point, from validation data; ``norms`` the clients whose
    uploads counted last and the largest norm that the change of each has had; ``best_scores`` the clients' scores of
    the best rounds, which later rounds are compared with.
    """

    server: ServerState
    clients: Mapping[str, ClientState] = field(default_factory=dict)
    best: dict[str, tuple[int, float]] = field(default_factory=dict)
    norms: tuple[tuple[str, float], ...] = ()
    best_scores: dict[str, dict[str, float]] = field(default_factory=dict)
