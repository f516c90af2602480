"""One entry of the cache: a file for each field of prepared rows, and a description with the digests of all.

``NAME.json`` is written last and removed first, so that an entry that was not finished is none. Its time of change is
when the entry was last used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from omnifm.data.cache.field_writer import FieldWriter, StoredField, is_intact
from omnifm.data.packed import Packed
from omnifm.utils.atomic_write import replacing, write_atomically

_log = logging.getLogger(__name__)


class EntryTooLargeError(Exception):
    """The entry alone would take more than the cache may hold."""


@dataclass(frozen=True)
class Description:
    """What an entry was made from and what is in it.

    ``content`` is the digest of the files, ``counts`` the number of rows of each item, ``notes`` what was noted of
    items, by their number.
    """

    content: str
    counts: tuple[int, ...]
    notes: tuple[tuple[int, str], ...]
    fields: dict[str, StoredField]


@dataclass(frozen=True)
class CacheEntry:
    """The entry of a name in a folder."""

    folder: Path
    name: str

    @property
    def described(self) -> Path:
        """The file that describes the entry."""
        return self.folder / f"{self.name}.json"

    @property
    def lock(self) -> Path:
        """The lock of whoever makes it."""
        return self.folder / f"{self.name}.lock"

    def describe(self) -> Description | None:
        """Return the description, or None where there is no entry, with a warning if it is damaged."""
        try:
            stated, _, text = self.described.read_text(encoding="utf-8").partition("\n")
            if stated != hashlib.sha256(text.encode()).hexdigest():
                raise ValueError("it has another SHA-256 than it says")
            plain: dict[str, Any] = json.loads(text)
            fields = {
                name: StoredField(one["kind"], tuple(one["shape"]), one["unit"], tuple(one["blocks"]))
                for name, one in plain["fields"].items()
            }
            notes = tuple((number, note) for number, note in plain["notes"])
            return Description(plain["content"], tuple(plain["counts"]), notes, fields)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("cache %s cannot be read (%s); making it again", self.described, error)
            return None

    def open(self, description: Description) -> dict[str, Packed] | None:
        """Return the columns, mapped from their files, or None with a warning if a file is damaged."""
        try:
            found = {}
            for name, stored in description.fields.items():
                path = self._file(name)
                status = path.stat()
                if not _verified(path, stored, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns):
                    raise ValueError("it has another SHA-256 than was noted of it")
                found[name] = stored.opened(path)
        except (OSError, ValueError) as error:
            _log.warning("cache %s is damaged (%s); making it again", self.described, error)
            return None
        with suppress(OSError):
            os.utime(self.described)
        return found

    @contextmanager
    def writing(self, most: float) -> Iterator[EntryWriter]:
        """Let the fields of the entry be written; they replace those of an older one when the block ends.

        Raises:
            EntryTooLargeError: (from the writer) they have more than ``most`` bytes.
            OSError: they cannot be written.
        """
        with ExitStack() as files:
            writer = EntryWriter(self, files, most)
            yield writer
            self.described.unlink(missing_ok=True)

    def write_description(self, description: Description) -> None:
        """Write the description, the last file of an entry."""
        text = json.dumps(asdict(description), separators=(",", ":"))
        write_atomically(self.described, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}".encode())

    def _file(self, field_name: str) -> Path:
        return self.folder / f"{self.name}.{field_name}"


@dataclass
class EntryWriter:
    """Writes the rows of all fields of an entry."""

    entry: CacheEntry
    files: ExitStack
    most: float
    _fields: dict[str, FieldWriter] = field(default_factory=dict)

    def add(self, rows: Mapping[str, Tensor]) -> None:
        """Write rows of every field."""
        for name, values in rows.items():
            if name not in self._fields:
                path = self.files.enter_context(replacing(self.entry._file(name), flushed=False))
                self._fields[name] = self.files.enter_context(FieldWriter(path))
            self._fields[name].add(values)
        if sum(writer.size for writer in self._fields.values()) > self.most:
            raise EntryTooLargeError

    def finished(self) -> dict[str, StoredField]:
        """Return what the files hold."""
        return {name: writer.finished() for name, writer in self._fields.items()}


@lru_cache(maxsize=256)
def _verified(path: Path, stored: StoredField, *file: int) -> bool:
    """Return whether a file is as it was written, looked at once a process; ``file`` tells it from a later one."""
    return is_intact(path, stored)
