"""The folder ``data`` of a run: what it was trained on, and which patient was where.

``key`` is the key of all pseudonyms. ``files-DIGEST.jsonl`` lists files, one a line: pseudonym, size, digest, and the
name if the settings ask for it. ``split-DIGEST.jsonl`` has a header with the settings that it belongs to, and a line
for each patient: pseudonym, number of the client, split.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omnifm.data.fingerprint import Fingerprint, ReadFile, pseudonym
from omnifm.data.kept_split import KeptSplit
from omnifm.data.subset import ClientData
from omnifm.utils.atomic_write import replacing
from omnifm.utils.errors import DataError

FOLDER = "data"
"""Where a run, or a comparison, keeps its record."""
_SPLITS = ("train", "validation", "test")


class Recorded(NamedTuple):
    """What is recorded for some settings."""

    fingerprint: Fingerprint
    split: KeptSplit


@dataclass(frozen=True)
class DataRecord:
    """The record in a run's folder.

    Reading raises :class:`DataError` if a file of it is damaged.
    """

    run: Path

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.run / FOLDER

    def exists(self) -> bool:
        """Return whether anything is recorded."""
        return any(self.folder.glob("split-*.jsonl"))

    def forget(self) -> None:
        """Remove the record of a run that has not begun."""
        for path in (*self.folder.glob("*.jsonl"), self.folder / "key"):
            path.unlink(missing_ok=True)

    def key(self, inherited: bytes | None = None) -> bytes:
        """Return the key of the pseudonyms; one is made, or ``inherited``, where there is none."""
        path = self.folder / "key"
        try:
            return bytes.fromhex(path.read_text(encoding="ascii"))
        except FileNotFoundError:
            key = inherited or secrets.token_bytes(32)
        except (OSError, ValueError) as error:
            raise self._damaged(path, error) from None
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(key.hex(), encoding="ascii")
        return key

    def find(self, settings: Mapping[str, Any]) -> Recorded | None:
        """Return what is recorded for settings, None where nothing is; keys that they did not have yet may differ."""
        wanted = _plain(settings)
        for path in sorted(self.folder.glob("split-*.jsonl")):
            if _is_part(self._header(path)["settings"], wanted):
                return self._read(path)
        return None

    def only_split(self, settings: Mapping[str, Any]) -> KeptSplit:
        """Return the split of the run for use in another: the only one, or that of the same seed and partition.

        Raises:
            DataError: there is none, or there are several.
        """
        paths = sorted(self.folder.glob("split-*.jsonl"))
        if len(paths) > 1:
            wanted = {key: value for key, value in _plain(settings).items() if key != "data"}
            headers = {path: self._header(path)["settings"] for path in paths}
            paths = [path for path in paths if all(headers[path][key] == value for key, value in wanted.items())]
        if len(paths) != 1:
            fault = "several splits, not one of this seed and partition" if self.exists() else "no split"
            raise DataError(
                f"partition.split_from = {str(self.run)!r}: this folder holds {fault}. Name a run with one split."
            )
        return self._read(paths[0]).split

    def write(
        self,
        settings: Mapping[str, Any],
        fingerprint: Fingerprint,
        clients: tuple[ClientData, ...],
        name_files: bool,
    ) -> None:
        """Record data.

        Args:
            settings: what the data depend on.
            fingerprint: of the files.
            clients: who holds which patients.
            name_files: whether the names of files are written down too.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        files = f"files-{fingerprint.digest()}.jsonl"
        with replacing(self.folder / files) as temporary, temporary.open("w", encoding="utf-8") as file:
            for who, (size, digest) in fingerprint.files.items():
                named = [fingerprint.names[who]] if name_files and who in fingerprint.names else []
                file.write(f"{json.dumps([who, size, digest, *named], separators=(',', ':'))}\n")
        key, plain = self.key(), _plain(settings)
        header = {"files": files, "labels": fingerprint.labels, "clients": [client.name for client in clients]}
        name = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:32]
        with replacing(self.folder / f"split-{name}.jsonl") as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(f"{json.dumps({'settings': plain, **header})}\n")
            for number, client in enumerate(clients):
                for patient, part in _splits_of(client).items():
                    file.write(f'["{pseudonym(key, patient)}",{number},"{part}"]\n')

    def _read(self, path: Path) -> Recorded:
        header, key = self._header(path), self.key()
        try:
            files, names = dict[str, ReadFile](), dict[str, str]()
            for who, size, digest, *name in _lines(self.folder / header["files"]):
                files[who] = ReadFile(size, digest)
                names |= {who: name[0]} if name else {}
            lines = _lines(path)
            next(lines)
            clients = tuple(header["clients"])
            places = {who: (clients[number], split) for who, number, split in lines}
            split = KeptSplit(str(self.run), key, clients, places)
            return Recorded(Fingerprint(tuple(header["labels"]), files, names), split)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise self._damaged(path, error) from None

    def _header(self, path: Path) -> dict[str, Any]:
        try:
            header: dict[str, Any] = next(_lines(path))
            header["settings"], header["files"], header["labels"], header["clients"]
            return header
        except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
            raise self._damaged(path, error) from None

    def _damaged(self, path: Path, error: Exception) -> DataError:
        return DataError(
            f"{path} is damaged ({error!r}). Restore it, or remove the folder {self.folder}: nobody can then tell "
            "whether the data have changed."
        )


def _splits_of(client: ClientData) -> dict[str, str]:
    """Return the split of each patient of a client; of one in several, the first."""
    parts = zip(_SPLITS, (client.train, client.validation, client.test), strict=True)
    found: dict[str, str] = {}
    for split, part in parts:
        for patient in part.patients:
            found.setdefault(patient, split)
    return found


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return found


def _is_part(old: Any, new: Any) -> bool:
    """Return whether settings are the same, but for keys that a later version has added."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(key in new and _is_part(value, new[key]) for key, value in old.items())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_is_part, old, new))
    return bool(old == new)
