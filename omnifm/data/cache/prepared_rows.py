"""Reading the files of a source once: their rows are kept in the cache, by the content of the files and the settings.

On the way every file is digested, which the fingerprint of a run needs too: right before it is decoded, so that it
comes from the disk once, and only if it has changed since the last time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from omnifm.data.cache.entry import CacheEntry, Description, EntryTooLargeError
from omnifm.data.cache.read_files import FilesToRead
from omnifm.data.cache.room import GIB, IMAGE_FOLDER, make_room
from omnifm.data.columns import Column
from omnifm.data.source import Loading
from omnifm.utils.lock import exclusively

ItemValue = TypeVar("ItemValue")

_log = logging.getLogger("omnifm")

PREPARED_VERSION = 1
"""To be raised with every change that alters what a source makes of its files: older entries are then not used."""
_NOT_PIXELS = ("folder", "name", "patient_pattern")  # settings of sources that change no row's values
_NOT_FORM = (
    "root",
    "cache",
    "cache_limit",
    "seed",
    "read",
    "listing",
)  # of what a source receives; the same goes for the seed
_DECODERS = ("omnifm", "torch", "numpy", "pillow", "nibabel", "pydicom", "pynrrd")


class ItemRows(NamedTuple):
    """What comes of an item: each field ``(rows, ...)``, and a note to the source itself, if any."""

    fields: Mapping[str, Tensor]
    note: str = ""


@dataclass(frozen=True)
class PreparedRows:
    """All rows of a source, in the order of its items.

    ``counts`` are the rows of each item; ``notes`` what was noted, with the number of the item. ``fresh`` is whether
    the files were decoded just now.
    """

    fields: dict[str, Column]
    counts: tuple[int, ...]
    notes: tuple[tuple[int, str], ...]
    fresh: bool = True

    def repeated(self, values: Sequence[ItemValue]) -> list[ItemValue]:
        """Return the value of each row, given those of the items."""
        return [value for value, count in zip(values, self.counts, strict=True) for _ in range(count)]


def prepared_once(
    loading: Loading,
    source: object,
    items: Sequence[Sequence[Path]],
    make: Callable[[int], Iterable[ItemRows]],
    more: object = None,
) -> PreparedRows:
    """Return the rows of all items, from the cache if these files were read with these settings before.

    Args:
        loading: the form of the images, and the cache.
        source: the settings of the source, a dataclass.
        items: the files that each item is made from.
        make: reads an item, by its number, in the form of ``loading``; may yield its rows in several parts. What comes
            out must depend on nothing but the item's files, ``source``, the form and ``more``.
        more: what the rows depend on besides, such as a modality that a table states for each item.

    Raises:
        DataError: a file cannot be read.
    """
    if loading.listing is not None and (blank := loading.listing.blank_rows(items, make)) is not None:
        return PreparedRows(dict(blank), (1,) * len(items), ())
    files = FilesToRead(list(dict.fromkeys(path for item in items for path in item)), loading.cache)

    def made(counts: list[int], notes: list[tuple[int, str]]) -> Iterator[Mapping[str, Tensor]]:
        for number, item in enumerate(items):
            for path in item:
                files.digest(path)
            for rows, note in make(number):
                counts[number] += len(next(iter(rows.values())))
                if note:
                    notes.append((number, note))
                yield rows

    found = None
    if loading.cache_limit > 0 and items:
        name = _outline(loading, (source, more), items, files)
        found = _cached(CacheEntry(loading.cache / IMAGE_FOLDER, name), loading, files, len(items), made)
    if found is None:
        counts, notes = [0] * len(items), list[tuple[int, str]]()
        parts = list(made(counts, notes))
        joined: dict[str, Column] = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        found = PreparedRows(joined, tuple(counts), tuple(notes))
    files.remember()
    for path in files.paths:
        loading.read.add(loading.relative(path), files.size(path), files.digest(path))
    return found


_Made = Callable[[list[int], list[tuple[int, str]]], Iterator[Mapping[str, Tensor]]]


def _cached(entry: CacheEntry, loading: Loading, files: FilesToRead, count: int, made: _Made) -> PreparedRows | None:
    """Return the rows of an entry, which is made if need be; None with a warning where the cache cannot be used."""
    limit = loading.cache_limit * GIB
    with ExitStack() as stack:
        try:
            entry.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # they are images of patients
            stack.enter_context(exclusively(entry.lock))  # the second process waits, and then finds the entry
        except OSError as error:
            _log.info("%s cannot be locked (%s).", entry.lock, error.strerror)
        if (rows := _opened(entry, files)) is not None:
            return rows
        counts, notes = [0] * count, list[tuple[int, str]]()
        try:
            with entry.writing(limit) as writer:
                for part in made(counts, notes):
                    writer.add(part)
                stored = writer.finished()
            entry.write_description(Description(files.content(), tuple(counts), tuple(notes), stored))
        except EntryTooLargeError:
            _log.warning(
                "The prepared images take more than data.cache_limit = %g GiB; they are kept in memory. Raise "
                "data.cache_limit if the disk of %s has room.",
                loading.cache_limit,
                loading.cache,
            )
            return None
        except OSError as error:
            _log.warning("cache %s cannot be written (%s); continuing without it", entry.folder, error.strerror)
            return None
        make_room(loading.cache, limit, entry.described)
        made_now = _opened(entry, files)
        return None if made_now is None else replace(made_now, fresh=True)


def _opened(entry: CacheEntry, files: FilesToRead) -> PreparedRows | None:
    description = entry.describe()
    if description is None or description.content != files.content():
        return None
    columns = entry.open(description)
    if columns is None:
        return None
    return PreparedRows(cast(dict[str, Column], columns), description.counts, description.notes, fresh=False)


def _outline(
    loading: Loading, about: tuple[object, object], items: Sequence[Sequence[Path]], files: FilesToRead
) -> str:
    """Return the name of an entry: of everything that is known before a file is read."""
    source, more = about
    kept = {key: value for key, value in asdict(cast(Any, source)).items() if key not in _NOT_PIXELS}
    form = {f.name: getattr(loading, f.name) for f in fields(loading) if f.name not in _NOT_FORM}
    known = {"source": kept, "more": more, "form": form, "versions": _versions()}
    total = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    for item in items:
        total.update(b"item")
        for path in item:
            total.update(f"{loading.relative(path)}|{files.size(path)}".encode("utf-8", "surrogateescape"))
    return total.hexdigest()[:32]


@lru_cache(maxsize=1)
def _versions() -> dict[str, object]:
    found: dict[str, object] = {"prepared": PREPARED_VERSION}
    for name in _DECODERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found
