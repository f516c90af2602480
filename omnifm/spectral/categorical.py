"""A column of names stored as integer codes, for a million entries of a few thousand clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True)
class Categorical:
    """One name for each of ``n`` rows: ``codes`` ``(n,)`` int64 into ``names``, each of which occurs."""

    codes: Int64[Tensor, "n"]
    names: tuple[str, ...] = ()

    @classmethod
    def none(cls) -> Categorical:
        """Return a column without rows."""
        return cls(torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.codes)

    def tolist(self) -> list[str]:
        """Return the name of each row."""
        return [self.names[code] for code in self.codes.tolist()]

    @cached_property
    def _code(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}

    def rows_of(self, name: str) -> Int64[Tensor, "m"]:
        """Return the rows ``(m,)`` int64 of a name."""
        return (self.codes == self._code.get(name, -1)).nonzero().flatten()

    def with_more(self, more: Sequence[str]) -> Categorical:
        """Return the column with one more row for each of the names."""
        names = tuple(dict.fromkeys((*self.names, *more)))
        code = {name: code for code, name in enumerate(names)}
        return Categorical(
            torch.cat([self.codes, torch.tensor([code[name] for name in more], dtype=torch.int64)]), names
        )

    def select(self, rows: Int64[Tensor, "m"]) -> Categorical:
        """Return the column of ``rows`` ``(m,)`` int64, in that order; names that no longer occur are dropped."""
        codes = self.codes[rows]
        occurs = torch.bincount(codes, minlength=len(self.names)) > 0
        names = tuple(name for name, kept in zip(self.names, occurs.tolist(), strict=True) if kept)
        return Categorical((occurs.cumsum(0) - 1)[codes], names)
