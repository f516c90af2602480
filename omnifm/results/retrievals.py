"""Whose prototypes the clients retrieve, out of the log of an arm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from omnifm.results.result_folder import CellRecord

RECENT = 5
"""Of so many rounds with retrievals, the last ones, the shares are."""


@dataclass(frozen=True)
class Retrieved:
    """The share of each owner (column) in what each client (row) retrieved in the last ``rounds``; a row sums to 1."""

    shares: pd.DataFrame
    rounds: int

    @property
    def from_others(self) -> float:
        """The share that is not one's own, on average."""
        return 1 - float(sum(self.shares.at[name, name] for name in self.shares.index) / len(self.shares))


def retrieved(cell: CellRecord, order: Iterable[str]) -> Retrieved | None:
    """Return what clients retrieved, both they and the owners in this order where they are in it; None, if nothing."""
    reports = [(line.get("report") or {}).get("retrieved") or {} for line in cell.rounds]
    last = [pd.DataFrame(report).T for report in reports if any(report.values())][-RECENT:]
    if not last:
        return None
    counts = pd.concat(last).groupby(level=0, sort=False).sum()
    known = dict.fromkeys([*order, *counts.index, *counts.columns])
    names = [name for name in known if name in counts.index or name in counts.columns]
    counts = counts.reindex(index=[name for name in names if name in counts.index], columns=names).fillna(0)
    return Retrieved(counts.div(counts.sum(axis=1), axis=0), len(last))
