"""The states of the clients, each in a file of its own: memory does not grow with their number.

What was written lately the operating system still holds in memory; what it has no room for is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from omnifm.core.records import ClientState
from omnifm.core.serialization import read_aligned
from omnifm.privacy.account import PrivacyAccount
from omnifm.privacy.secret import ClientSecret
from omnifm.privacy.vault import ClientVault
from omnifm.utils.atomic_write import flush, replacing
from omnifm.utils.errors import CheckpointError
from omnifm.utils.quick_digest import quick_digest

_SUFFIX = ".safetensors"
_SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class ClientStateStore:
    """Files ``CLIENT/DIGEST.safetensors``. A file is never changed: a client's next state has another name.

    ``CLIENT/secret`` is there too, once a step on uploads has asked for the client's secret, and, of a private run,
    ``CLIENT/privacy.json``, the account of what has left.
    """

    path: Path

    @classmethod
    def temporary(cls) -> ClientStateStore:
        """Return a new folder that is removed when nothing refers to it any more."""
        folder = cls(Path(tempfile.mkdtemp(prefix="omnifm-")))
        weakref.finalize(folder, _remove, folder.path, os.getpid())
        return folder

    def write(self, client: str, state: ClientState) -> str:
        """Write a state and return the digest of its file; :meth:`settle` makes it last.

        Raises:
            CheckpointError: the disk is full or not writable.
        """
        data = state.to_bytes()
        digest = quick_digest(data)
        path = self._file(client, digest)
        with _as_checkpoint_error(client, path):  # also over a file of this name: it may be damaged
            try:
                _put(path, data)
            except FileNotFoundError:  # the client's first
                path.parent.mkdir(parents=True, exist_ok=True)
                _put(path, data)
        return digest

    def refs(self, digests: Mapping[str, str]) -> StoredStates:
        """Return the states of these digests by client."""
        return StoredStates(self, digests)

    def digests(self, clients: Mapping[str, ClientState]) -> dict[str, str]:
        """Return the digests of these states; those stored elsewhere are written here first."""
        if isinstance(clients, StoredStates) and clients.folder == self:
            return dict(clients.digests)
        return {name: self.write(name, state) for name, state in clients.items()}

    def fsync(self, files: Iterable[tuple[str, str]]) -> None:
        """Wait until the states of these clients and digests are on the disk.

        Raises:
            CheckpointError: the disk is full or not writable.
        """

        def settled(file: tuple[str, str]) -> None:
            path = self._file(*file)
            with _as_checkpoint_error(file[0], path):
                flush(path)
                flush(path.parent)

        with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:  # a disk takes many requests at once
            list(threads.map(settled, files))

    def keep(self, client: str, state: ClientState) -> str | None:
        """Write a state, if it is not empty, and return its digest."""
        return None if state == ClientState() else self.write(client, state)

    def secret(self, client: str) -> ClientSecret:
        """Return the client's secret, which is stored beside its states."""
        return ClientSecret(self.path / file_name(client) / "secret")

    def vault(self, client: str) -> ClientVault:
        """Return the client's secret, and the account of what has left it, which is stored there too."""
        return ClientVault(self.secret(client), PrivacyAccount(self.path / file_name(client) / "privacy.json"))

    def read(self, client: str, digest: str | None) -> ClientState:
        """Return a state that was written; without a digest, an empty one.

        Raises:
            CheckpointError: the file is missing or cut short.
        """
        return ClientState() if digest is None else self._unpacked(client, digest, self._content(client, digest))

    def read_checked(self, client: str, digest: str | None) -> ClientState:
        """Return what :meth:`read` does, but only if it is what was written, to the last bit: :meth:`check`, read once.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        if digest is None:
            return ClientState()
        content = self._content(client, digest)
        self._compare(client, digest, content)
        return self._unpacked(client, digest, content)

    def check(self, client: str, digest: str) -> None:
        """Check that a state is what was written, to the last bit.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        self._compare(client, digest, self._content(client, digest))

    def _compare(self, client: str, digest: str, content: memoryview) -> None:
        if quick_digest(content) != digest:
            raise CheckpointError(f"{self._file(client, digest)} is damaged: its digest does not match its name.")

    def _unpacked(self, client: str, digest: str, content: memoryview) -> ClientState:
        try:
            return ClientState.from_memory(content)
        except ValueError as error:
            raise CheckpointError(f"{self._file(client, digest)} is damaged: {error}.") from None

    def _content(self, client: str, digest: str) -> memoryview:
        path = self._file(client, digest)
        try:
            return read_aligned(path)
        except OSError as error:
            raise CheckpointError(f"The state of client {client!r} cannot be read: {path}: {error.strerror}.") from None

    def remove(self, files: Iterable[tuple[str, str]]) -> None:
        """Remove the states of these clients and digests."""
        for client, digest in files:
            self._file(client, digest).unlink(missing_ok=True)

    def keep_only(self, files: Iterable[tuple[str, str]]) -> None:
        """Remove every state but those of these clients and digests."""
        kept = {self._file(client, digest) for client, digest in files}
        for path in self.path.glob(f"*/*{_SUFFIX}"):
            if path not in kept:
                path.unlink()

    def _file(self, client: str, digest: str) -> Path:
        return self.path / file_name(client) / f"{digest}{_SUFFIX}"


def digests_of(states: Mapping[str, ClientState]) -> dict[str, str]:
    """Return the digest of each client's state, wherever it is stored; an empty one has none."""
    if isinstance(states, StateRefs):
        return dict(states.digests)
    return {name: quick_digest(state.to_bytes()) for name, state in states.items() if state != ClientState()}


def file_name(name: str) -> str:
    """Return the name of a client's or arm's folder: a client can be called PET/CT, or .. ."""
    return quote(name, safe=" ").replace(".", "%2E")


def _put(path: Path, data: bytearray) -> None:
    with replacing(path, flushed=False) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def _as_checkpoint_error(client: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"The state of client {client!r} cannot be written to {path}: {error.strerror}. What was written before is "
            f"intact: make room there and resume."
        ) from None


def _remove(path: Path, maker: int) -> None:
    if os.getpid() == maker:  # and not a fork of it
        shutil.rmtree(path, ignore_errors=True)


class RemoteStateStore:
    """The store of states that never leave their clients: each settles, checks and removes its own."""

    def refs(self, digests: Mapping[str, str]) -> StateRefs:
        """Return the states of these digests by client."""
        return StateRefs(digests)

    def digests(self, clients: Mapping[str, ClientState]) -> dict[str, str]:
        """Return the digests of these states."""
        return digests_of(clients)

    def fsync(self, files: Iterable[tuple[str, str]]) -> None:
        """Do nothing: a client reports a state when it is on its disk."""

    def check(self, client: str, digest: str) -> None:
        """Do nothing: a client checks what it reads."""

    def remove(self, files: Iterable[tuple[str, str]]) -> None:
        """Do nothing: clients receive the digests still needed."""

    def keep_only(self, files: Iterable[tuple[str, str]]) -> None:
        """Do nothing: clients receive the digests still needed."""


class StateRefs(Mapping[str, ClientState]):
    """States by client that are stored elsewhere, known by their digests."""

    def __init__(self, digests: Mapping[str, str] | None = None) -> None:
        self.digests = dict(digests or {})

    def __getitem__(self, client: str) -> ClientState:
        raise KeyError(f"the state of {client!r} stays with it")

    def __iter__(self) -> Iterator[str]:
        return iter(self.digests)

    def __len__(self) -> int:
        return len(self.digests)


class StoredStates(StateRefs):
    """States that are read from a folder when they are asked for."""

    def __init__(self, folder: ClientStateStore, digests: Mapping[str, str] | None = None) -> None:
        super().__init__(digests)
        self.folder = folder

    def __getitem__(self, client: str) -> ClientState:
        return self.folder.read(client, self.digests[client])


StateStore = ClientStateStore | RemoteStateStore
"""Where the clients' states are, as the checkpoints refer to them: here, or with the clients."""
