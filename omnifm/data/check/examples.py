"""The examples of a data set before any is decoded: what a check looks at, the same for every kind of source."""

from __future__ import annotations

import hashlib
import stat
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import pandas as pd

from omnifm.data.check.finding import Finding
from omnifm.data.manifest.manifest_images import RowImages
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable


@dataclass(frozen=True)
class Examples:
    """A row for each example, and the files that it is made of.

    Args:
        frame: of texts, with these columns: ``place`` (the table and row, or the file, for messages), ``name`` (the
            path below the source's folder, in which a patient's name may stand), ``label`` (several joined by ``|``),
            ``patient`` (empty, if nobody says whose it is), ``modality``, ``institution``, ``split`` (as published;
            empty, if not). Once partitioned, also ``client`` and ``part``, its split there.
        files: the columns ``row`` (of ``frame``), ``role`` (``image``, ``mask``, ``pair``) and ``path``.
        learned: what the examples can teach: ``label``, ``mask``, ``answer``, ``pair`` or ``image``.
        label_names: the labels, or the regions.
        problems: what is wrong with the listing itself.
        folders: where the source looks for files.
        read: reads the files of a row as a run does, and raises DataError where that fails; None where the source reads
            all at once.
        blank: a table of one row such as the source gives, without what is to be seen in it.
    """

    frame: pd.DataFrame
    files: pd.DataFrame
    learned: str
    label_names: tuple[str, ...] = ()
    problems: tuple[Finding, ...] = ()
    folders: tuple[Path, ...] = ()
    read: Callable[[int], RowImages] | None = None
    blank: SourceTable | None = None

    def __len__(self) -> int:
        return len(self.frame)

    def place(self, row: int) -> str:
        """Return where a row is, for messages."""
        return str(self.frame["place"].iat[row])

    def of(self, role: str) -> pd.DataFrame:
        """Return the files of a role."""
        return self.files[self.files["role"] == role]

    @cached_property
    def parts(self) -> pd.Series[str]:
        """The split of each row: in the partition, or where there is none as published."""
        return self.frame["part" if "part" in self.frame else "split"]

    def agreed_answers(self, patients: int) -> tuple[str, ...]:
        """Return, sorted, the answers that so many training patients of one client have; of questions only."""
        if "answer" not in self.frame or "client" not in self.frame:
            return ()
        frame = self.frame.assign(patient=self.frame["patient"].where(self.frame["patient"] != "", self.frame["name"]))
        bearers = frame[frame["part"] == "train"].groupby(["client", "answer"])["patient"].nunique()
        return tuple(sorted({str(answer) for _, answer in bearers[bearers >= patients].index}))

    @cached_property
    def sizes(self) -> pd.Series[int]:
        """The bytes of each different path; -1 of a file that is missing, -2 of a folder, -3 of what is neither."""
        return pd.Series({path: _bytes_of(path) for path in self.files["path"].unique()}, dtype="int64")

    @cached_property
    def digests(self) -> pd.Series[str]:
        """The digest of each different file that could have the content of another: one of the same size."""
        files = self.sizes[self.sizes > 0]
        alike = files[files.duplicated(keep=False)]
        return pd.Series({path: digest for path in alike.index if (digest := _digest(path))}, dtype="str")


@runtime_checkable
class Listing(Protocol):
    """A source that can list its examples without decoding any."""

    def examples(self, loading: Loading) -> Examples:
        """Return the examples.

        Raises:
            DataError: there are none to list.
        """
        ...


def joined_examples(parts: Sequence[Examples]) -> Examples:
    """Return the examples of several sources of one experiment."""
    starts = [sum(map(len, parts[:number])) for number in range(len(parts))]
    files = [part.files.assign(row=part.files["row"] + start) for part, start in zip(parts, starts, strict=True)]

    def read(row: int) -> RowImages:
        number = bisect_right(starts, row) - 1
        return parts[number].read(row - starts[number])  # type: ignore[misc]

    return replace(
        parts[0],
        frame=pd.concat([part.frame for part in parts], ignore_index=True),
        files=pd.concat(files, ignore_index=True),
        label_names=tuple(dict.fromkeys(name for part in parts for name in part.label_names)),
        problems=tuple(problem for part in parts for problem in part.problems),
        folders=tuple(dict.fromkeys(folder for part in parts for folder in part.folders)),
        read=read if all(part.read for part in parts) else None,
    )


def _bytes_of(path: str) -> int:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return -1
    if stat.S_ISDIR(found.st_mode):
        return -2
    return found.st_size if stat.S_ISREG(found.st_mode) else -3


def _digest(path: str) -> str:
    """Return the digest of a file, or nothing where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ""
