"""Columns of a table that are not plain tensors: values that several rows share, texts, and what files hold.

A column has a ``shape`` and gives out rows by ``index_select(0, rows)``, as a tensor does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from omnifm.data.packed import Packed


@dataclass(frozen=True)
class Shared:
    """A column whose rows have few different values: the image of many questions, which is kept once.

    ``values`` ``(different, ...)``, of which row r has ``values[index[r]]``; ``index`` ``(rows,)`` int64.
    """

    values: Tensor | Packed | Joined | Widened
    index: Tensor

    @property
    def shape(self) -> torch.Size:
        """The shape of the column, had it a value a row."""
        return torch.Size((len(self.index), *self.values.shape[1:]))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Return the values of some rows."""
        return self.values.index_select(dim, self.index[rows])


@dataclass(frozen=True)
class Joined:
    """The rows of several columns in order, none of which is copied: each can be a file larger than the memory."""

    parts: tuple[Tensor | Packed | Widened, ...]

    @property
    def shape(self) -> torch.Size:
        """The shape of all rows together."""
        return torch.Size((self._ends[-1], *self.parts[0].shape[1:]))

    @cached_property
    def _ends(self) -> list[int]:
        return torch.tensor([part.shape[0] for part in self.parts]).cumsum(0).tolist()

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Return the values of some rows."""
        found: Tensor | None = None
        for part, end in zip(self.parts, self._ends, strict=True):
            mine = (rows >= end - part.shape[0]) & (rows < end)
            if mine.all():
                return part.index_select(dim, rows - (end - part.shape[0]))
            if mine.any():
                values = part.index_select(dim, rows[mine] - (end - part.shape[0]))
                found = values.new_empty((len(rows), *values.shape[1:])) if found is None else found
                found[mine] = values
        assert found is not None  # rows are rows of the table
        return found


@dataclass(frozen=True)
class Widened:
    """Regions ``(rows, own, ...)`` among ``width`` regions, of which ``places`` are their own; the others are 0."""

    values: Tensor | Packed
    places: Tensor
    width: int

    @property
    def shape(self) -> torch.Size:
        """The shape of the column."""
        return torch.Size((self.values.shape[0], self.width, *self.values.shape[2:]))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Return the values of some rows."""
        own = self.values.index_select(dim, rows)
        wide = own.new_zeros((len(own), *self.shape[1:]))
        wide[:, self.places] = own
        return wide


@dataclass(frozen=True)
class Texts:
    """A column of texts, as UTF-8 and padded with zeros: ``utf8`` ``(rows, bytes of the longest)`` uint8."""

    utf8: Tensor

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Return the column of these texts, one a row. A text must not hold the character NUL."""
        rows = [torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8) if text else _EMPTY for text in texts]
        return cls(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True))

    @property
    def shape(self) -> torch.Size:
        """The shape of the column, as in tensors: only the rows."""
        return self.utf8.shape[:1]

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Return some rows, ``(rows, bytes)`` uint8: read them with :func:`read_texts`."""
        return self.utf8.index_select(dim, rows)


_EMPTY = torch.zeros(0, dtype=torch.uint8)
Column = Tensor | Shared | Texts | Packed | Joined | Widened


def row_chunks(column: Column, rows: int = 1024) -> Iterator[Tensor]:
    """Yield all rows of a column, so many at a time."""
    for part in torch.split(torch.arange(column.shape[0]), rows):
        yield column.index_select(0, part)


def read_texts(utf8: Tensor) -> list[str]:
    """Return the texts of rows ``(rows, bytes)`` uint8 that came out of a :class:`Texts`."""
    return [bytes(row).rstrip(b"\0").decode() for row in utf8.cpu().numpy()]


def as_tensor(column: Column) -> Tensor:
    """Return all rows of a column; a tensor is not copied."""
    return column if isinstance(column, Tensor) else column.index_select(0, torch.arange(column.shape[0]))


def stacked(columns: Sequence[Column]) -> Column:
    """Return the rows of all columns, in order, as one column; they are of one kind and fit together."""
    if all(isinstance(column, Texts) for column in columns):
        width = max(column.utf8.shape[1] for column in columns if isinstance(column, Texts))
        padded = [
            torch.nn.functional.pad(column.utf8, (0, width - column.utf8.shape[1]))
            for column in columns
            if isinstance(column, Texts)
        ]
        return Texts(torch.cat(padded))
    if any(isinstance(column, Shared) for column in columns):
        shared = [_as_shared(column) for column in columns]
        starts = torch.tensor([0, *(column.values.shape[0] for column in shared[:-1])]).cumsum(0)
        index = torch.cat([column.index + start for column, start in zip(shared, starts, strict=True)])
        return Shared(_joined([column.values for column in shared]), index)
    return _joined(columns)


def _joined(columns: Sequence[Column]) -> Tensor | Joined:
    """Return tensors as one tensor; where one is kept in a file, leave all where they are."""
    if all(isinstance(column, Tensor) for column in columns):
        return torch.cat([column for column in columns if isinstance(column, Tensor)])
    parts: list[Tensor | Packed | Widened] = []
    for column in columns:
        if isinstance(column, Texts | Shared):
            raise TypeError("texts do not fit to numbers")
        parts += column.parts if isinstance(column, Joined) else (column,)
    return Joined(tuple(parts))


def _as_shared(column: Column) -> Shared:
    if isinstance(column, Texts):
        raise TypeError("texts do not fit to numbers")
    return column if isinstance(column, Shared) else Shared(column, torch.arange(column.shape[0]))
