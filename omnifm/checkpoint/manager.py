"""Where a run's checkpoints are: the last rounds, the best rounds, and the clients' states they refer to."""

from __future__ import annotations

import logging
from pathlib import Path

from omnifm.checkpoint.client_store import ClientStateStore, StateStore
from omnifm.checkpoint.file import read_checkpoint, read_plain, write_checkpoint
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.evaluation import EvaluationPoint
from omnifm.core.records import ServerState
from omnifm.utils.errors import CheckpointError

KEEP = 2
_log = logging.getLogger("omnifm")


class CheckpointManager:
    """``round-NNNNNN.safetensors``, ``best-POINT.safetensors`` and ``clients/``, one folder a client.

    A round writes only the states of the clients that took part in it; those that no checkpoint needs any more go.
    ``states`` stores the clients' states, if not this folder.
    """

    def __init__(self, folder: Path, states: StateStore | None = None) -> None:
        self.folder = folder
        self.states: StateStore = ClientStateStore(folder / "clients") if states is None else states
        self._needed: dict[Path, set[tuple[str, str]]] = {}

    @property
    def needed(self) -> set[tuple[str, str]]:
        """The clients and digests of all states that a checkpoint refers to."""
        return set().union(*self._needed.values())

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a round's checkpoint and drop all rounds but the last ``KEEP``.

        Raises:
            CheckpointError: the disk is full or not writable; older checkpoints are untouched.
        """
        self._write(self.folder / f"round-{checkpoint.server.round:06d}.safetensors", checkpoint)
        for old in self._rounds()[KEEP:]:
            old.unlink(missing_ok=True)
            self._remove(self._needed.pop(old, set()))

    def write_best(self, point: EvaluationPoint, checkpoint: Checkpoint) -> None:
        """Keep the best checkpoint of an evaluation point, in place of the one before."""
        self._write(self._best(point), checkpoint)

    def read_latest(self) -> Checkpoint | None:
        """Return the newest sound checkpoint, or None where there is none yet; what no checkpoint needs is removed.

        A damaged one is passed over, with a warning, for the one before it.

        Raises:
            CheckpointError: there are checkpoints, but all are damaged.
        """
        self._sweep()
        rounds = self._rounds()
        for path in rounds:
            try:
                return self._read(path)
            except CheckpointError as error:
                _log.warning("%s Going back to the one before it.", error)
                self._needed.pop(path, None)
        if rounds:
            raise CheckpointError(f"All checkpoints in {self.folder} are damaged. Start a new run.")
        return None

    def has_best(self, point: EvaluationPoint) -> bool:
        """Return whether there is a best checkpoint of an evaluation point yet."""
        return self._best(point).exists()

    def read_best(self, point: EvaluationPoint) -> Checkpoint:
        """Return the best checkpoint of an evaluation point.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        return self._read(self._best(point))

    def _best(self, point: EvaluationPoint) -> Path:
        return self.folder / f"best-{point}.safetensors"

    def _rounds(self) -> list[Path]:
        return sorted(self.folder.glob("round-*.safetensors"), reverse=True)

    def _write(self, path: Path, checkpoint: Checkpoint) -> None:
        tensors, server = checkpoint.server.pack()
        clients = self.states.digests(checkpoint.clients)
        self.states.fsync(set(clients.items()).difference(*self._needed.values()))
        plain = {"best": checkpoint.best, "norms": checkpoint.norms, "best_scores": checkpoint.best_scores}
        write_checkpoint(path, tensors, {"server": server, "clients": clients, **plain})
        before, self._needed[path] = self._needed.get(path, set()), set(clients.items())
        self._remove(before)

    def _read(self, path: Path) -> Checkpoint:
        tensors, plain = read_checkpoint(path)
        try:
            server, clients = ServerState.unpack(tensors, plain["server"]), self.states.refs(plain["clients"])
            best = {point: (int(number), float(score)) for point, (number, score) in plain["best"].items()}
            norms = tuple((str(name), float(norm)) for name, norm in plain.get("norms", ()))
            scores = {
                point: {str(name): float(score) for name, score in of.items()}
                for point, of in plain.get("best_scores", {}).items()
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            raise CheckpointError(f"The checkpoint {path} was written by another version of OmniFM.") from None
        for client, digest in clients.digests.items():
            self.states.check(client, digest)
        return Checkpoint(server, clients, best, norms, scores)

    def _remove(self, states: set[tuple[str, str]]) -> None:
        """Remove these states, but for those that a checkpoint still needs."""
        self.states.remove(states.difference(*self._needed.values()))

    def _sweep(self) -> None:
        """Collect the states that the checkpoints need, and remove what a crash has left."""
        for path in self.folder.glob("*.safetensors"):
            try:
                self._needed[path] = set(dict(read_plain(path)["clients"]).items())
            except (CheckpointError, KeyError, TypeError, ValueError):
                continue  # reported when it is read
        self.states.keep_only(self.needed)
