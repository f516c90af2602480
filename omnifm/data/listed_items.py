"""What a source would read, without reading it: for checks, which look at the files one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from omnifm.utils.errors import DataError

MakeItem = Callable[[int], Iterable[tuple[Mapping[str, Tensor], str]]]
"""Reads an item, by its number, and yields its rows, as :func:`~omnifm.data.cache.prepared_rows.prepared_once` says."""


class ListedItems:
    """Takes down the items of a source and how each is read; the source gets a blank row for each in place of it.

    Attributes:
        items: the files that each item is made from.
        make: reads one, as a run does.
    """

    def __init__(self) -> None:
        self.items: list[Sequence[Path]] = []
        self.make: MakeItem | None = None

    def blank_rows(self, items: Sequence[Sequence[Path]], make: MakeItem) -> dict[str, Tensor] | None:
        """Return a blank row for each item, in the form of the first that can be read; None for a single item.

        A single item is a file that holds a whole set, and is read as always.
        """
        if len(items) < 2:
            return None
        self.items, self.make = list(items), make
        form = self._form()
        return {name: torch.zeros_like(value).expand(len(items), *value.shape[1:]) for name, value in form.items()}

    def _form(self) -> dict[str, Tensor]:
        assert self.make is not None
        for number in range(len(self.items)):
            try:
                fields, _ = next(iter(self.make(number)))
            except DataError:
                continue
            return {name: value[:1] for name, value in fields.items()}
        return {"image": torch.zeros(1, 1, 1, 1), "mask": torch.zeros(1, 1, 1, 1, dtype=torch.uint8)}
