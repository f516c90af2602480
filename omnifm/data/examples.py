"""What a data source yields and what a hospital holds: examples as named tensors, one row an example.

The way of the data: a source reads files into a :class:`Pool`; ``cohort.py`` gives the pools one label space;
``partition.py`` deals the rows out to hospitals, as :class:`ClientData`; a trainer takes a :data:`Batch`.
Which fields there are (``image``, ``label``, ``mask``, ...) is between a source and the task that uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Examples:
    """Examples of one split. Every field has the same first dimension, ``(examples, ...)``.

    ``patients`` names the patient of each row (where a set publishes none, each row is its own patient).
    """

    fields: Batch
    patients: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.patients)

    def batch(self, rows: Tensor) -> Batch:
        """Return the fields of the rows ``(batch,)``, int64."""
        return {name: values[rows] for name, values in self.fields.items()}


@dataclass(frozen=True)
class ClientData:
    """All that one hospital holds. The bank is balanced by ``group``, its modality (or modalities)."""

    name: str
    group: str
    train: Examples
    validation: Examples
    test: Examples


@dataclass(frozen=True)
class Pool:
    """All rows that one source yields, before they are dealt out to hospitals.

    ``fields["image"]`` is ``(rows, channels, *size)`` float32 in [0, 1]. ``fields["label"]`` is ``(rows,)``
    int64 into ``label_names``, or ``(rows, len(label_names))`` of 0 and 1 where an image may bear several
    labels. ``split`` holds the published split of each row (``"train"``, ``"validation"``, ``"test"``), or
    None where the source publishes none.
    """

    fields: Batch
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
