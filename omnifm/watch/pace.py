"""How far a run is, and how long it will still take: from the times in its log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from omnifm.config.toml import parse
from omnifm.results.formatting import percent
from omnifm.results.result_folder import ArmRecord, CellRecord, ResultFolder, finite

RECENT_ROUNDS = 10
"""So many of the last rounds tell how long the next ones will take."""

TrackState = Literal["waiting", "training", "testing", "trained", "stopped", "finished", "failed"]


@dataclass(frozen=True)
class Track:
    """One arm of a run, or one cell of a comparison: one line of the page. ``held``: the run is going on."""

    arm: ArmRecord
    cell: CellRecord
    label: str
    held: bool
    compared: bool

    @cached_property
    def rounds(self) -> int:
        """How many rounds are planned; 0 while nobody knows."""
        planned = parse(self.cell.settings).get("federation", {}).get("rounds", 0)
        return int(self.cell.result.get("rounds", planned))

    @property
    def done(self) -> int:
        """The rounds that are done."""
        return int(self.cell.rounds[-1]["round"]) if self.cell.rounds else 0

    @property
    def state(self) -> TrackState:
        """What is happening to it."""
        if self.cell.result:
            return "finished"
        if self.cell.failure or self.arm.failure:
            return "failed"
        if not self.cell.settings:
            return "waiting"
        if self.rounds and self.done >= self.rounds:
            return "trained" if self.compared else "testing" if self.held else "stopped"
        return "training" if self.held else "stopped"

    @cached_property
    def seconds_per_round(self) -> float | None:
        """How long a round takes, its evaluation included: the median of the last ones; None, if nobody knows."""
        last = self.cell.rounds[-RECENT_ROUNDS - 1 :]
        known = [time for line in last if (time := finite(line.get("time"))) is not None]
        spans = [after - before for before, after in pairwise(known)]
        spans = spans or [seconds for line in last if (seconds := finite(line.get("seconds"))) is not None]
        return median(spans) if spans else None

    @property
    def left(self) -> float | None:
        """The seconds that its rounds will still take from the last one on."""
        pace = self.seconds_per_round
        return None if pace is None or self.state != "training" else (self.rounds - self.done) * pace


def tracks(folder: ResultFolder, held: bool) -> list[Track]:
    """Return the lines of the page, in the order of the arms."""
    many = len(folder.levels) > 1
    found = []
    for arm in folder.arms:
        for cell in arm.cells:
            level = f", {percent(cell.level)} a round" if many else ""
            label = f"{arm.name}, seed {cell.seed}{level}" if folder.is_comparison else arm.name
            found.append(Track(arm, cell, label, held, folder.is_comparison))
    return found


def time_of_last_line(lines: Iterable[Track]) -> float | None:
    """Return when the newest line of the logs was written, in seconds since 1970."""
    return max((time for track in lines if (time := last_time(track.cell.log)) is not None), default=None)


def last_time(log: list[dict[str, Any]]) -> float | None:
    """Return when the last line of a log was written."""
    return next((time for line in reversed(log) if (time := finite(line.get("time"))) is not None), None)


def left_of_run(lines: list[Track]) -> float | None:
    """Return how long a run's arms, one after the other, will still take from the last line on; None, if unknown."""
    known = [track.seconds_per_round for track in lines if track.seconds_per_round is not None]
    if not known:
        return None
    usual, planned = sum(known) / len(known), max(track.rounds for track in lines)
    return sum((track.rounds or planned) * usual if track.state == "waiting" else track.left or 0.0 for track in lines)


def left_of_comparison(lines: list[Track], planned: int) -> float | None:
    """Return how long the cells, several at a time, will still take from the last line on: by the rounds a second."""
    times = sorted(
        time for track in lines for one in track.cell.rounds if (time := finite(one.get("time"))) is not None
    )
    recent = times[-3 * RECENT_ROUNDS :]
    if len(recent) < 2:
        return None
    return max(0, planned - sum(track.done for track in lines)) * (recent[-1] - recent[0]) / (len(recent) - 1)
