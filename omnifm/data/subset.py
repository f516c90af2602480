"""Tables of sources and examples of hospitals: named tensors, one row per example.

The data flow: a source reads files into a :class:`SourceTable`; ``dataset.py`` gives the tables one label space;
``partition.py`` distributes the rows to hospitals, as :class:`ClientData`; a trainer takes a :data:`Batch`.
Which fields there are (``image``, ``label``, ``mask``, ...) is agreed between a source and the task that uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from omnifm.data.columns import Column

Batch = dict[str, Tensor]
Columns = Mapping[str, Column]
PATIENT = "patient"
"""The field of a training batch that holds the number of each example's patient, ``(batch,)`` int64."""


class Subset:
    """Examples of one split: rows of a table that all hospitals share, so that no images are copied.

    Args:
        table: every field for every row of the table, ``(table rows, ...)``.
        patients: the patient of each row of the table (where a set publishes none, each row is its own patient).
        rows: the rows of this split, ``(examples,)`` int64; all of the table, if not given.
    """

    def __init__(self, table: Columns, patients: Sequence[str], rows: Tensor | None = None) -> None:
        self._table, self._patients = table, patients
        self._rows = torch.arange(len(patients)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(self._table)

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each example."""
        return tuple(self._patients[row] for row in self._rows.tolist())

    def patient_at(self, place: int) -> str:
        """Return the patient of one example."""
        return self._patients[int(self._rows[place])]

    @cached_property
    def patient_numbers(self) -> Tensor:
        """A number for the patient of each example, the same for the same patient, ``(examples,)`` int64."""
        numbers: dict[str, int] = {}
        found = [numbers.setdefault(patient, len(numbers)) for patient in self.patients]
        return torch.tensor(found, dtype=torch.int64)

    def column(self, field: str) -> Tensor:
        """Return one field of all examples, ``(examples, ...)``: a copy."""
        return self._table[field].index_select(0, self._rows)

    def batch(self, places: Tensor) -> Batch:
        """Return the fields of the examples at ``places`` ``(batch,)``, int64."""
        rows = self._rows[places]
        return {field: values.index_select(0, rows) for field, values in self._table.items()}

    def whole(self) -> Batch:
        """Return the fields of all examples."""
        return {field: self.column(field) for field in self._table}

    def with_constant(self, field: str, value: Tensor) -> Subset:
        """Return the same examples with a further field, whose value is the same for each."""
        repeated = value.expand(len(self._patients), *value.shape)
        return Subset({**self._table, field: repeated}, self._patients, self._rows)

    @staticmethod
    def joined(parts: Sequence[Subset]) -> Subset:
        """Return the examples of all parts, in order; those of one table are not copied."""
        first = parts[0]
        if all(part._table is first._table for part in parts):
            return Subset(first._table, first._patients, torch.cat([part._rows for part in parts]))
        columns = {field: torch.cat([part.column(field) for part in parts]) for field in first._table}
        return Subset(columns, tuple(patient for part in parts for patient in part.patients))


class LazySubset(Subset):
    """Examples that are loaded when they are first looked at."""

    def __init__(self, load: Callable[[], Subset]) -> None:
        self._load = load

    def __getattr__(self, name: str) -> Any:
        if name not in ("_table", "_patients", "_rows"):
            raise AttributeError(name)
        self.__dict__ |= vars(self._load())
        return self.__dict__[name]


@dataclass(frozen=True)
class ClientData:
    """The data of one hospital. The bank is balanced by ``group``, its modality (or modalities)."""

    name: str
    group: str
    train: Subset
    validation: Subset
    test: Subset


@dataclass(frozen=True)
class SourceTable:
    """All rows of one source, before they are distributed to hospitals.

    ``fields["image"]`` is ``(rows, channels, *size)`` float32 in [0, 1]. Of a source with ``label_names``,
    ``fields["label"]`` is ``(rows,)`` int64 into them, or ``(rows, len(label_names))`` of 0 and 1 where an image may
    have several labels; or else ``fields["mask"]`` is ``(rows, len(label_names), *size)`` uint8, 1 where the region of
    that name is (regions can overlap). ``split`` holds the published split of each row (``"train"``,
    ``"validation"``, ``"test"``), or None where the source publishes none.
    """

    fields: Columns
    label_names: tuple[str, ...]
    patients: tuple[str, ...]
    modalities: tuple[str, ...]
    institutions: tuple[str, ...]
    split: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.patients)


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return the different names, in order of first appearance."""
    return tuple(dict.fromkeys(names))


def evenly_spaced(count: int, limit: int) -> list[int]:
    """Return ``limit`` of the indices 0 to ``count - 1``, evenly spaced; all if ``limit`` is 0 or no less."""
    if not 0 < limit < count:
        return list(range(count))
    return [(2 * step + 1) * count // (2 * limit) for step in range(limit)]
