"""What a run knows of its data: which files were read, and what they held. Names are in it as keyed digests only.

A name of a file can hold the name of a patient. Its digest is keyed, by a key of the run's own: without the key nobody
can find out whether a guessed name is among them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class ReadFile(NamedTuple):
    """The size of a file in bytes, and the SHA-256 of its content."""

    size: int
    digest: str


class ReadFiles:
    """Takes down the files that sources read, by their paths below the root of the data."""

    def __init__(self) -> None:
        self.files: dict[str, ReadFile] = {}

    def add(self, name: str, size: int, digest: str) -> None:
        """Take down a file, or what else a source is made of."""
        self.files[name] = ReadFile(size, digest)


def pseudonym(key: bytes, name: str) -> str:
    """Return what stands for the name of a file or a patient: 128 bits of its HMAC-SHA-256."""
    return hmac.digest(key, name.encode("utf-8", "surrogateescape"), "sha256").hex()[:32]


@dataclass(frozen=True)
class Fingerprint:
    """The labels of the data, and their files by pseudonym; ``names`` are those of files that are known by name."""

    labels: tuple[str, ...]
    files: Mapping[str, ReadFile]
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: tuple[str, ...], files: Mapping[str, ReadFile], key: bytes) -> Fingerprint:
        """Return the fingerprint of files by name. The digests of contents are keyed too: no two runs share one."""
        names = {pseudonym(key, name): name for name in files}
        found = {who: ReadFile(files[name].size, pseudonym(key, files[name].digest)) for who, name in names.items()}
        return cls(labels, found, names)

    def digest(self) -> str:
        """Return a digest of the files, in their order."""
        text = "\n".join(f"{who} {size} {digest}" for who, (size, digest) in self.files.items())
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def changes_to(self, now: Fingerprint) -> list[str]:
        """Say what is different in the data as they are now, each as a clause; nothing if they are the same."""
        found = [f"the class {name!r} was added" for name in now.labels if name not in self.labels]
        found += [f"the class {name!r} is gone" for name in self.labels if name not in now.labels]
        if not found and self.labels != now.labels:
            found.append("the classes are in another order")
        changed = [who for who, file in now.files.items() if who in self.files and self.files[who] != file]
        added = [who for who in now.files if who not in self.files]
        removed = [who for who in self.files if who not in now.files]
        names = {**self.names, **now.names}
        for what, files in (("changed", changed), ("added", added), ("removed", removed)):
            if files:
                example = next((f", such as {names[who]}" for who in files if who in names), "")
                subject = "1 file was" if len(files) == 1 else f"{len(files)} files were"
                found.append(f"{subject} {what}{example}")
        return found
