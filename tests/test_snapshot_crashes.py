"""A folder of checkpoints, in whatever order rounds are written, are the best ones, or are cut short by a kill."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import same_checkpoint
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.checkpoint.file import read_plain
from omnifm.checkpoint.manager import KEEP, CheckpointManager
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.evaluation import EVALUATION_POINTS, EvaluationPoint
from omnifm.core.records import ClientState, ServerState
from omnifm.utils.atomic_write import remove_strays

CLIENTS = ("CT", "MRI")
rounds: dict[str, Any] = {
    "trained": st.lists(st.sampled_from(CLIENTS), unique=True),
    "best": st.lists(st.sampled_from(EVALUATION_POINTS), unique=True),
}


class Killed(BaseException):
    """The process is gone: no cleaning up does anything any more."""


class FileSystem:
    """Lets so many changes of files happen; in the midst of the next, and of all after it, the process is gone."""

    def __init__(self) -> None:
        self.left = 10**9
        self.patch = pytest.MonkeyPatch()
        for name in ("unlink", "replace", "write_bytes"):
            self.patch.setattr(Path, name, self._mortal(getattr(Path, name)))

    def _mortal(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changing(path: Path, *arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left >= 0:
                return change(path, *arguments, **options)
            if self.left == -1 and change.__name__ == "write_bytes":
                change(path, bytes(arguments[0])[:100])
            raise Killed

        return changing


class Snapshots(RuleBasedStateMachine):
    """Every state that a checkpoint refers to is there and sound; nothing else remains."""

    @initialize()
    def start(self) -> None:
        self.path, self.files = Path(tempfile.mkdtemp()), FileSystem()
        self.folder = CheckpointManager(self.path)
        self.written: list[Checkpoint] = []
        self.best: dict[EvaluationPoint, Checkpoint] = {}
        self.tick = self.kills = 0

    @rule(**rounds)
    def a_round(self, trained: Sequence[str], best: Sequence[EvaluationPoint]) -> None:
        """Write a round as a run does: the states as the clients train, the best checkpoints, and then the round's."""
        self.tick += 1
        before = self.written[-1] if self.written else Checkpoint(ServerState({}, 0))
        number, clients = before.server.round + 1, dict(before.clients)
        for name in trained:
            clients[name] = ClientState({"w": torch.tensor([float(self.tick)])})
        server = ServerState({"w": torch.full((1,), float(self.tick))}, number)
        self.coming = kept = Checkpoint(server, clients, {"before_local_training": (number, 0.5)})
        states = self.folder.states
        assert isinstance(states, ClientStateStore)
        checkpoint = replace(kept, clients=states.refs(states.digests(clients)))
        for point in best:
            self.folder.write_best(point, checkpoint)
            self.best[point] = kept
        self.folder.write(checkpoint)
        self.written.append(kept)
        self.kills = 0

    @rule(**rounds, changes=st.integers(0, 12))
    def a_round_is_cut_short(self, trained: Sequence[str], best: Sequence[EvaluationPoint], changes: int) -> None:
        """Kill the process after some changes of files; the run is then resumed."""
        self.files.left = changes
        try:
            self.a_round(trained, best)
        except Killed:
            self.files.left = 10**9
            self.kills += 1
            self.reopen(self.coming)
        self.files.left = 10**9

    @rule()
    def reopen(self, coming: Checkpoint | None = None) -> None:
        """Go on in another process; what was being written is there as a whole or not at all."""
        remove_strays(self.path)
        self.folder = CheckpointManager(self.path)
        latest = self.folder.read_latest()
        if coming is not None and latest is not None and same_checkpoint(latest, coming):
            self.written.append(coming)
        assert (latest is None) == (not self.written)
        if latest is not None:
            assert same_checkpoint(latest, self.written[-1])
        for point in EVALUATION_POINTS:
            if coming is not None and self.folder.has_best(point):
                found = self.folder.read_best(point)
                self.best[point] = coming if same_checkpoint(found, coming) else self.best[point]

    @invariant()
    def the_snapshots_are_there(self) -> None:
        names = {f"round-{one.server.round:06d}.safetensors": one for one in self.written[-KEEP:]}
        found = {path.name for path in self.path.glob("round-*.safetensors")}
        assert set(names) <= found
        assert len(found) <= KEEP + self.kills  # each kill may leave one that goes with the next whole round
        for point in EVALUATION_POINTS:
            assert self.folder.has_best(point) == (point in self.best)
            if point in self.best:
                assert same_checkpoint(self.folder.read_best(point), self.best[point])

    @invariant()
    def the_states_are_what_they_refer_to(self) -> None:
        needed = set[Path]()
        for path in self.path.glob("*.safetensors"):
            for client, digest in read_plain(path)["clients"].items():
                self.folder.states.check(client, digest)
                needed.add(self.path / "clients" / client / f"{digest}.safetensors")
        assert {path for path in (self.path / "clients").rglob("*") if path.is_file()} == needed

    def teardown(self) -> None:
        self.files.patch.undo()
        shutil.rmtree(self.path)


Snapshots.TestCase.settings = settings(max_examples=30, stateful_step_count=10)
TestSnapshots = Snapshots.TestCase
