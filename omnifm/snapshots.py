"""Where a run's snapshots lie: the last rounds, the best rounds, and beside them the clients' states they refer to."""

from __future__ import annotations

import logging
from pathlib import Path

from omnifm.algorithms.state import ServerState
from omnifm.errors import CheckpointError
from omnifm.federation import Reading, Snapshot
from omnifm.results.checkpoint import read_checkpoint, read_plain, write_checkpoint
from omnifm.states import StateFolder, StateStore

KEEP = 2
_log = logging.getLogger("omnifm")


class SnapshotFolder:
    """``round-NNNNNN.safetensors``, ``best-READING.safetensors`` and ``clients/``, one folder a client.

    A round writes only the states of the clients that took part in it; those that no snapshot needs any more go.
    ``states`` is where the clients' states lie instead, if not here.
    """

    def __init__(self, folder: Path, states: StateStore | None = None) -> None:
        self.folder = folder
        self.states: StateStore = StateFolder(folder / "clients") if states is None else states
        self._needed: dict[Path, set[tuple[str, str]]] = {}

    @property
    def needed(self) -> set[tuple[str, str]]:
        """The clients and digests of all states that a snapshot refers to."""
        return set().union(*self._needed.values())

    def write(self, snapshot: Snapshot) -> None:
        """Write a round's snapshot and drop all rounds but the last ``KEEP``.

        Raises:
            CheckpointError: the disk is full or not writable; older snapshots are untouched.
        """
        self._write(self.folder / f"round-{snapshot.server.round:06d}.safetensors", snapshot)
        for old in self._rounds()[KEEP:]:
            old.unlink(missing_ok=True)
            self._remove(self._needed.pop(old, set()))

    def write_best(self, reading: Reading, snapshot: Snapshot) -> None:
        """Keep the best snapshot of a reading, in place of the one before."""
        self._write(self._best(reading), snapshot)

    def read_latest(self) -> Snapshot | None:
        """Return the newest sound snapshot, or None where there is none yet; what no snapshot needs is removed.

        A damaged one is passed over, with a warning, for the one before it.

        Raises:
            CheckpointError: there are snapshots, but all are damaged.
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
            raise CheckpointError(f"All checkpoints in {self.folder} are damaged. Start the run anew.")
        return None

    def has_best(self, reading: Reading) -> bool:
        """Tell whether there is a best snapshot of a reading yet."""
        return self._best(reading).exists()

    def read_best(self, reading: Reading) -> Snapshot:
        """Return the best snapshot of a reading.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        return self._read(self._best(reading))

    def _best(self, reading: Reading) -> Path:
        return self.folder / f"best-{reading}.safetensors"

    def _rounds(self) -> list[Path]:
        return sorted(self.folder.glob("round-*.safetensors"), reverse=True)

    def _write(self, path: Path, snapshot: Snapshot) -> None:
        tensors, server = snapshot.server.pack()
        clients = self.states.digests(snapshot.clients)
        self.states.settle(set(clients.items()).difference(*self._needed.values()))
        write_checkpoint(path, tensors, {"server": server, "clients": clients, "best": snapshot.best})
        before, self._needed[path] = self._needed.get(path, set()), set(clients.items())
        self._remove(before)

    def _read(self, path: Path) -> Snapshot:
        tensors, plain = read_checkpoint(path)
        try:
            server, clients = ServerState.unpack(tensors, plain["server"]), self.states.held(plain["clients"])
            best = {reading: (int(number), float(score)) for reading, (number, score) in plain["best"].items()}
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"The checkpoint {path} was written by another version of OmniFM.") from None
        for client, digest in clients.digests.items():
            self.states.check(client, digest)
        return Snapshot(server, clients, best)

    def _remove(self, states: set[tuple[str, str]]) -> None:
        """Remove these states, but for those that a snapshot still needs."""
        self.states.remove(states.difference(*self._needed.values()))

    def _sweep(self) -> None:
        """Find out what the snapshots need, and remove what a crash left beside it."""
        for path in self.folder.glob("*.safetensors"):
            try:
                self._needed[path] = set(dict(read_plain(path)["clients"]).items())
            except (CheckpointError, KeyError, TypeError, ValueError):
                continue  # told when it is to be read
        self.states.keep_only(self.needed)
