"""What has happened in an arm, line by line, in words: its log for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from omnifm.callbacks.circle_changes import CircleChanges
from omnifm.callbacks.events import ArmInfo, RoundEvent
from omnifm.results.formatting import metric_name, number
from omnifm.results.result_folder import POINTS, CellRecord, finite, mean
from omnifm.utils.printable import printable
from omnifm.utils.words import joined

_MOST_NAMED = 6


class StoryLine(NamedTuple):
    """One line; ``warns`` of what somebody should look at."""

    round: int
    time: float | None
    text: str
    warns: bool = False


def story(cell: CellRecord, metric: str) -> list[StoryLine]:
    """Return the lines of an arm, the oldest first."""
    circles = CircleChanges()
    lines = [line for entry in cell.log for line in _lines(entry, circles, metric)]
    if cell.stopped:
        lines.append(StoryLine(cell.rounds[-1]["round"] if cell.rounds else 0, None, f"Ended early, {cell.stopped}."))
    return [line._replace(text=printable(line.text)) for line in lines]


def _lines(entry: dict[str, Any], circles: CircleChanges, metric: str) -> Iterator[StoryLine]:
    place = int(entry["round"]), finite(entry.get("time"))
    if entry.get("event") == "round":
        yield StoryLine(*place, _round(entry))
        for client, reason in (entry.get("rejected") or {}).items():
            yield StoryLine(*place, f"The upload of {client} does not count: {reason}.", warns=True)
        if entry.get("refused"):
            yield StoryLine(*place, f"The round does not count: {entry['refused']}.", warns=True)
        if change := circles.after(_event(entry)):
            yield StoryLine(*place, f"{change}.")
    elif entry.get("event") == "evaluation":
        scores = [finite(numbers.get(metric)) for numbers in entry["clients"].values()]
        lacking = [name for name, score in zip(entry["clients"], scores, strict=True) if score is None]
        when = POINTS.get(entry["point"], entry["point"])
        text = f"{str(entry['split']).capitalize()} {when}: {metric_name(metric)} {number(mean(scores))}"
        without = f"; {joined(lacking, _MOST_NAMED)} without" if lacking and len(lacking) < len(scores) else ""
        yield StoryLine(*place, f"{text}{without}.")


def _round(entry: dict[str, Any]) -> str:
    clients = entry.get("clients") or {}
    loss, seconds = mean(finite(one.get("loss")) for one in clients.values()), finite(entry.get("seconds"))
    count = f"{len(clients)} hospital{'' if len(clients) == 1 else 's'}"
    return f"{count} trained, loss {number(loss)}, {number(seconds, 1)} s."


def _event(entry: dict[str, Any]) -> RoundEvent:
    return RoundEvent(
        ArmInfo(),
        int(entry["round"]),
        seconds=0.0,
        bytes_down=0,
        bytes_up=0,
        clients=entry.get("clients") or {},
        report=entry.get("report") or {},
    )
