"""A manifest, read: every row's cells by their role, and all that is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from omnifm.data.check.finding import Finding, error
from omnifm.data.manifest.manifest_columns import ManifestColumns, renamed
from omnifm.data.published_split import SPLIT_FOLDERS, split_of
from omnifm.data.subset import distinct
from omnifm.data.tables import read_table
from omnifm.utils.errors import DataError
from omnifm.utils.words import joined

YES_NO = {"1": True, "1.0": True, "yes": True, "true": True, "0": False, "0.0": False, "no": False, "false": False}
"""The cells of a column that says of each image whether it has a label; an empty one says no."""

CELL_SEPARATORS = r"[;|]"

LEARNED = ("mask", "answer", "pair", "label")
"""The columns that can be learned, of which a table usually has one."""


@dataclass(frozen=True)
class Manifest:
    """A table of images. ``frame`` has a column for each role of the table, of texts, empty where a cell is.

    Its index are the rows' numbers as a spreadsheet counts them, the header being row 1. A role with several columns of
    the table has as many columns, ``label:NAME``.
    """

    path: Path
    frame: pd.DataFrame

    @classmethod
    def read(cls, path: Path, columns: ManifestColumns) -> Manifest:
        """Read the table.

        Raises:
            DataError: it cannot be read, has no rows, or no column of images.
        """
        table = read_table(path)
        frame = renamed(table, columns, path)
        if "image" not in frame:
            known = joined(map(str, table.columns), 12)
            raise DataError(f"{path}: has no column of images. Call it image, or set columns.image (there: {known}).")
        if not len(frame):
            raise DataError(f"{path}: has no rows. Add one for each image.")
        if "split" in frame:
            frame["split"] = frame["split"].map(lambda word: split_of(word) or word)
        return cls(path, frame)

    def place(self, row: int) -> str:
        """Return where a row is, for messages."""
        return f"{self.path}, row {row}"

    def columns_of(self, role: str) -> dict[str, str]:
        """Return the columns of a role by their own names in the table; the only one by the role."""
        found = {name.removeprefix(f"{role}:"): name for name in self.frame if name.startswith(f"{role}:")}
        return found or ({role: role} if role in self.frame else {})

    @cached_property
    def learnable(self) -> tuple[str, ...]:
        """What the table holds that can be learned, of :data:`LEARNED`."""
        return tuple(role for role in LEARNED if self.columns_of(role))

    @cached_property
    def several_labels(self) -> bool:
        """Whether an image can have several labels, or none."""
        if len(self.columns_of("label")) > 1:
            return True
        return "label" in self.frame and bool(self.frame["label"].str.contains(CELL_SEPARATORS, regex=True).any())

    @cached_property
    def labels(self) -> pd.Series[str]:
        """The labels of each row, joined by ``|`` where there are several."""
        columns = self.columns_of("label")
        if len(columns) <= 1 and "label" in self.frame:
            if not self.several_labels:
                return self.frame["label"]
            return self.frame["label"].map(lambda cell: "|".join(distinct(parts(cell))))
        return marked(pd.DataFrame({name: self.frame[column] for name, column in columns.items()}))

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The labels that occur, sorted; those of columns of 0 and 1 in the order of the table."""
        columns = self.columns_of("label")
        if len(columns) > 1 or "label" not in columns:
            return tuple(columns)
        return tuple(sorted({part for cell in self.labels.unique() for part in parts(cell)}))

    def problems(self, learned: str) -> Iterator[Finding]:
        """Yield what is wrong with the cells, if this is what is ``learned``: ``image`` or one of :data:`LEARNED`."""
        needed = {"image": "image", "answer": "question", "pair": "pair"}
        for role in dict.fromkeys(("image", needed.get(learned, "image"))):
            yield from self._empty(role)
        yield from self._channels()
        if learned == "answer":
            yield from self._empty("answer")
        if learned == "mask" and "mask" in self.frame:
            yield from self._empty("mask")
        if learned == "label":
            yield from self._label_problems()
        if "split" in self.frame:
            known = self.frame["split"].isin(["", *SPLIT_FOLDERS.values()])
            for row, word in self.frame["split"][~known].items():
                yield error(self.place(row), f"split is {word!r}. Write train, validation or test, or leave it empty.")

    def _empty(self, role: str) -> Iterator[Finding]:
        if role not in self.frame:
            yield error(self.path, f"has no column {role!r}, which is needed here. Add it, or set columns.{role}.")
            return
        for row in self.frame.index[self.frame[role] == ""]:
            yield error(self.place(row), f"has no {role}. Fill in the cell, or remove the row.")

    def _channels(self) -> Iterator[Finding]:
        """Yield rows with more or fewer files for an image than the first row that has any."""
        several = self.frame["image"].str.contains(CELL_SEPARATORS, regex=True)
        if not several.any():
            return
        counts = self.frame["image"].map(lambda cell: len(paths_in(cell, self.path.parent)))
        given = counts[counts > 0]
        for row, count in given[given != given.iloc[0]].items():
            yield error(
                self.place(row),
                f"names {count} files as the channels of an image, but row {given.index[0]} {given.iloc[0]}. Name as "
                "many in every row.",
            )

    def _label_problems(self) -> Iterator[Finding]:
        columns = self.columns_of("label")
        if not self.several_labels:
            yield from self._empty("label")
        if len(columns) > 1 or "label" not in columns:
            for name, column in columns.items():
                cells = self.frame[column].str.lower()
                for row, cell in cells[~cells.isin([*YES_NO, ""])].items():
                    yield error(self.place(row), f"column {name!r} holds {cell!r}. Write 1 (has the label) or 0.")


def marked(columns: pd.DataFrame) -> pd.Series[str]:
    """Return of each row the names of the columns that say yes, joined by ``|``: cells are those of :data:`YES_NO`."""
    held = pd.Series("", index=columns.index)
    for name in columns:
        has = columns[name].str.lower().isin([word for word, yes in YES_NO.items() if yes])
        held += has.map({True: f"{name}|", False: ""})
    return held.str.removesuffix("|")


def parts(cell: str) -> list[str]:
    """Return the entries of a cell, which are separated by ``;`` or ``|``."""
    return [part.strip() for part in cell.replace(";", "|").split("|") if part.strip()]


def paths_in(cell: str, folder: Path) -> list[Path]:
    """Return the files that a cell names, seen from ``folder``; one whose own name holds a separator is one file."""
    cell = cell.replace("\\", "/")
    whole = ("|" in cell or ";" in cell) and (folder / cell).exists()
    return [Path(os.path.normpath(folder / part)) for part in ([cell] if whole else parts(cell))]
