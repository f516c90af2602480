"""Circles over the rounds: who learned with whom, why, and how much of what it received each client took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from omnifm.callbacks.circle_changes import ReportedCircles, circles_of
from omnifm.results.formatting import number
from omnifm.results.result_folder import ArmRecord, CellRecord, finite
from omnifm.results.retrievals import Retrieved, retrieved
from omnifm.results.table import TextTable
from omnifm.utils.words import joined

_MOST_NAMED = 8
"""So many clients are named in a sentence; of more, only how many."""

_TOOK = {1.0: "all", 0.5: "half", 0.0: "none"}
_ROUNDS = "rounds in which it took"


@dataclass(frozen=True)
class CircleHistory:
    """The circles of one arm.

    Attributes:
        arm: its name.
        sizes: of the circles after each round, the largest first.
        numbers: the circle of each client (row) after each round (column), NaN if it is alone. The clients of a circle
            stand together, as it is in the end. Without columns where the log has only the sizes.
        accepted: the share of what it received that each client (row) started from in each round (column).
        retrieved: whose prototypes the clients retrieved in the last rounds.
    """

    arm: str
    sizes: Mapping[int, list[int]]
    numbers: pd.DataFrame
    accepted: pd.DataFrame
    retrieved: Retrieved | None

    @property
    def clients(self) -> list[str]:
        """The clients, those of a circle together, those that are alone last."""
        return list(self.numbers.index)

    @cached_property
    def last(self) -> pd.Series:
        """The circle of each client in the end; NaN, if it is alone or nobody knows."""
        return self.numbers.iloc[:, -1] if self.numbers.size else pd.Series(float("nan"), self.numbers.index)

    @cached_property
    def unchanged_since(self) -> int:
        """The first round after which the circles are those of the end."""
        found = list(self.sizes)
        end = self._after(found[-1])
        return next(
            (late for late, early in zip(found[:0:-1], found[-2::-1], strict=True) if self._after(early) != end),
            found[0],
        )

    def _after(self, round_number: int) -> Any:
        if not self.numbers.size:
            return self.sizes[round_number]
        circle = self.numbers[round_number].dropna()
        return {frozenset(names) for names in circle.groupby(circle).groups.values()}

    @property
    def sentence(self) -> str:
        """What happened, in plain words."""
        return " ".join([f"{self.arm}: {self._found()}", *self._left(), *self._kept()])

    def _found(self) -> str:
        sizes, since, rounds = self.sizes[max(self.sizes)], self.unchanged_since, list(self.sizes)
        if not sizes:
            return f"since round {since} every hospital has been alone again."
        shown = joined(map(str, sizes), _MOST_NAMED)
        text = f"{len(sizes)} circles of {shown} hospitals learn" if len(sizes) > 1 else f"{shown} hospitals learn"
        if since == rounds[0]:
            return f"{text} together, the same in all rounds."
        if since == rounds[-1]:
            return f"{text} together; this changed as late as in round {since}, the last one."
        return f"{text} together, the same since round {since}."

    def _left(self) -> list[str]:
        sizes = self.sizes[max(self.sizes)]
        count = len(self.clients) - sum(sizes)
        if not sizes or not count:
            return ["No hospital is alone."] if sizes else []
        names = (
            list(self.last.index[self.last.isna()])
            if self.numbers.size
            else [f"{count} hospital{'s' if count > 1 else ''}"]
        )
        return [f"{joined(names, _MOST_NAMED)} {'is' if count == 1 else 'are each'} alone."]

    def _kept(self) -> list[str]:
        means = self.accepted.mean(axis=1)
        names = [name for name in self.clients if means.get(name, 1.0) < 0.5]
        if not names:
            return []
        it, its = ("it", "its") if len(names) == 1 else ("they", "their")
        text = f"{joined(names, _MOST_NAMED)} mostly kept {its} own weights"
        return [f"{text}: on average {it} took less than half of what {it} received."]

    def within(self, client: str) -> float:
        """Return which share of its retrievals a client made from its circle (itself included); NaN, if not known."""
        if self.retrieved is None or client not in self.retrieved.shares.index:
            return float("nan")
        row, circle = self.retrieved.shares.loc[client], self.last.get(client)
        names = [name for name in row.index if name == client or (name in self.last and self.last[name] == circle)]
        return float(row[names].sum())


def circle_history(arm: ArmRecord) -> CircleHistory | None:
    """Read the circles of an arm out of its log; None, if no two clients ever were in one."""
    cell = arm.cells[0]
    found = {line["round"]: circles_of(line.get("report") or {}) for line in cell.rounds}
    members = {number: circles for number, circles in found.items() if isinstance(circles, Mapping)}
    if not any(found.values()):
        return None
    sizes = {number: _sizes(circles) for number, circles in found.items() if circles is not None}
    clients = _clients(cell, members)
    numbers = pd.DataFrame(float("nan"), index=clients, columns=list(members), dtype=float)
    for round_number, circles in members.items():
        for circle, names in circles.items():
            numbers.loc[list(names), round_number] = float(circle)
    if members:
        numbers = numbers.sort_values(max(members), kind="stable", na_position="last")
    accepted = {
        line["round"]: {name: finite(one.get("accepted")) for name, one in line.get("clients", {}).items()}
        for line in cell.rounds
    }
    order = list(numbers.index)
    shares = pd.DataFrame(accepted, dtype=float).reindex(order)
    return CircleHistory(arm.name, sizes, numbers, shares, retrieved(cell, order))


def nobody_together(arm: ArmRecord) -> str:
    """Say of an arm without a :func:`circle_history` that nobody was alike; nothing of an algorithm without circles."""
    looked = any(circles_of(line.get("report") or {}) is not None for line in arm.cells[0].rounds)
    alone = "no two hospitals were found alike, so that each has trained alone what only those that are alike share."
    return f"{arm.name}: {alone}" if looked else ""


def _sizes(circles: ReportedCircles) -> list[int]:
    found = [len(names) for names in circles.values()] if isinstance(circles, Mapping) else circles
    return sorted(found, reverse=True)


def _clients(cell: CellRecord, members: Mapping[int, Mapping[str, Sequence[str]]]) -> list[str]:
    trained = [name for line in cell.rounds for name in line.get("clients", {})]
    in_circles = [name for circles in members.values() for names in circles.values() for name in names]
    return list(dict.fromkeys([*cell.result.get("clients", {}), *trained, *in_circles]))


def circle_table(history: CircleHistory) -> TextTable:
    """For each client: its circle, how much of what it retrieved came from there, and how much it accepted."""
    accepted, texts = history.accepted, dict[tuple[str, str], list[str]]()
    if history.numbers.size:
        shares = [history.within(client) for client in history.clients]
        texts["", "% retrieved from its circle"] = [
            number(None if share != share else 100 * share, 0) for share in shares
        ]
    if accepted.notna().any(axis=None):
        texts["", "mean accepted"] = [number(mean, 2) for mean in accepted.mean(axis=1)]
        for share, word in _TOOK.items():
            texts[_ROUNDS, word] = [str(count) for count in (accepted == share).sum(axis=1)]
    groups = ["alone" if circle != circle else f"circle {circle:.0f}" for circle in history.last]
    if not history.numbers.size:
        groups = [""] * len(groups)
    index = pd.MultiIndex.from_arrays([groups, history.clients])
    cells = pd.DataFrame(texts, index=index)
    recent = f", of the last {history.retrieved.rounds} rounds" if history.retrieved else ""
    title = f"{history.arm}: circles in the end. Retrieved from its circle: share of the prototypes that a hospital "
    title += f"retrieved which are its own or those of its circle{recent}. Accepted: share of what it received that it "
    title += "started from (1, 0.5 or 0)."
    return TextTable("circles", title, cells, cells.map(lambda _: False))
