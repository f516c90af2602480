"""The states of the clients, each in a file of its own: memory does not grow with their number.

What was written lately the operating system still holds in memory; what it has no room for is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from safetensors import SafetensorError

from omnifm.algorithms.state import ClientState
from omnifm.errors import CheckpointError
from omnifm.files import write_atomically

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class StateFolder:
    """Files ``CLIENT/SHA256.safetensors``. A file is never changed: a client's next state has another name."""

    path: Path

    @classmethod
    def temporary(cls) -> StateFolder:
        """Return a new folder that is removed when nothing refers to it any more."""
        folder = cls(Path(tempfile.mkdtemp(prefix="omnifm-")))
        weakref.finalize(folder, _remove, folder.path, os.getpid())
        return folder

    def write(self, client: str, state: ClientState) -> str:
        """Keep a state and return the SHA-256 of its file.

        Raises:
            CheckpointError: the disk is full or not writable.
        """
        data = state.to_bytes()
        digest = hashlib.sha256(data).hexdigest()
        path = self._file(client, digest)
        if not path.exists():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, data)
            except OSError as error:
                raise CheckpointError(
                    f"The state of client {client!r} cannot be written to {path}: {error.strerror}. What was written "
                    f"before is intact: make room there and resume."
                ) from None
        return digest

    def read(self, client: str, digest: str) -> ClientState:
        """Return a state that was kept.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        path = self._file(client, digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"The state of client {client!r} cannot be read: {path}: {error.strerror}.") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise CheckpointError(f"{path} is damaged: its SHA-256 does not match its name.")
        try:
            return ClientState.from_bytes(data)
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is no client's state: {error}.") from None

    def remove(self, files: Iterable[tuple[str, str]]) -> None:
        """Remove the states of these clients and digests."""
        for client, digest in files:
            self._file(client, digest).unlink(missing_ok=True)

    def keep_only(self, files: Iterable[tuple[str, str]]) -> None:
        """Remove every state but those of these clients and digests."""
        kept = {self._file(client, digest) for client, digest in files}
        for path in self.path.glob(f"*/*{SUFFIX}"):
            if path not in kept:
                path.unlink()

    def _file(self, client: str, digest: str) -> Path:
        folder = quote(client, safe=" ").replace(".", "%2E")  # a client may be called PET/CT, or ..
        return self.path / folder / f"{digest}{SUFFIX}"


def _remove(path: Path, maker: int) -> None:
    if os.getpid() == maker:  # and not a fork of it
        shutil.rmtree(path, ignore_errors=True)


class States(Mapping[str, ClientState]):
    """States by client, read from a folder when they are asked for."""

    def __init__(self, folder: StateFolder, digests: Mapping[str, str] | None = None) -> None:
        self.folder, self.digests = folder, dict(digests or {})

    def __getitem__(self, client: str) -> ClientState:
        return self.folder.read(client, self.digests[client])

    def __iter__(self) -> Iterator[str]:
        return iter(self.digests)

    def __len__(self) -> int:
        return len(self.digests)
