"""The files that are about to be read: their sizes now, and their digests when these are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from omnifm.data.cache.file_digests import DigestStore, sha256_of, state_of

_STORE = "digests.sqlite"


class FilesToRead:
    """Files with their digests, each read for it at most once and only if the cache does not know it.

    Args:
        paths: the different files.
        cache: the folder of the cache.
    """

    def __init__(self, paths: Sequence[Path], cache: Path) -> None:
        self.paths = paths
        self._store = DigestStore(cache / _STORE)
        self._states = {path: state_of(path) for path in paths}
        known = self._store.known(paths, list(self._states.values()))
        self._digests = {path: digest for path, digest in zip(paths, known, strict=True) if digest}
        self._unknown = [path for path in paths if path not in self._digests]

    def size(self, path: Path) -> int:
        """Return the bytes of a file."""
        return self._states[path].size

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file."""
        if path not in self._digests:
            self._digests[path] = sha256_of(path)
        return self._digests[path]

    def content(self) -> str:
        """Return a digest of the content of all files."""
        return hashlib.sha256("\n".join(map(self.digest, self.paths)).encode()).hexdigest()

    def remember(self) -> None:
        """Let the cache know the digests that were made here."""
        states = [self._states[path] for path in self._unknown]
        self._store.remember(self._unknown, states, [self._digests.get(path, "") for path in self._unknown])
