"""``omnifm deploy status``: who is connected, the round, how each hospital does and with whom it learns.

The SuperLink knows who is connected; the run's folder says what the hospitals do: ``status.json``, ``deploy.jsonl``.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from omnifm.callbacks.circle_changes import ReportedCircles
from omnifm.deploy.deployment_plan import ServerSide, read_side
from omnifm.deploy.event_lines import last_events
from omnifm.deploy.operator import control
from omnifm.engines.flower.control import RegisteredNode
from omnifm.utils.errors import DeploymentError
from omnifm.utils.lock import is_held
from omnifm.utils.printable import printable
from omnifm.utils.words import joined

STATUS = "status.json"
_COLOURS = {"online": "green", "offline": "red", "registered": "yellow"}
_WORDS = {"online": "connected", "offline": "gone", "registered": "never seen"}


def show(folder: Path, run: Path | None, events: int) -> Iterator[Table | str]:
    """Yield the tables and lines to print.

    Raises:
        DeploymentError: the folder is no server's or operator's, or neither SuperLink nor run can be asked.
    """
    side = read_side(folder, "server", "operator")
    if run is None and isinstance(side, ServerSide):
        run = latest_run(Path(side.state) / "runs")
    status = read_status(run) if run else {}
    nodes: dict[str, RegisteredNode] | None = None
    try:
        nodes = {node.name: node for node in control(folder).nodes()}
    except DeploymentError as error:
        if not status:
            raise
        yield f"[red]{escape(str(error))}[/]"
    known = status.get("hospitals", {})
    for about in known.values():
        if "round" in about:  # after the last round the hospitals evaluate once more, as if for the next
            about["round"] = min(about["round"], status.get("rounds", about["round"]))
    if nodes or known:
        yield client_table(nodes, known, datetime.now(UTC), status.get("circles"))
        yield from (escape(printable(line)) for line in circle_lines(status.get("circles")))
    else:
        yield "No hospital is registered yet: `omnifm deploy register FOLDER` lets them in."
    if run and status:
        yield escape(printable(where_it_is(run, status, datetime.now(UTC))))
        yield from (escape(line) for line in last_events(run, events))
    elif isinstance(side, ServerSide):
        yield "No run yet."
    else:
        yield "The round is shown on the server, or with --run FOLDER where the run's folder can be read."


def latest_run(runs: Path) -> Path | None:
    """Return the run's folder that was written to last; None if there is none."""
    found = [path.parent for path in runs.glob(f"*/{STATUS}")]
    return max(found, key=lambda path: (path / STATUS).stat().st_mtime, default=None)


def read_status(run: Path) -> dict[str, Any]:
    """Read the status of a deployed run.

    Raises:
        DeploymentError: the folder holds no deployed run.
    """
    try:
        status = json.loads((run / STATUS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DeploymentError(f"{run} holds no deployed run: there is no {run / STATUS}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DeploymentError(f"{run / STATUS} cannot be read: {error}.") from None
    return dict(status)


def client_table(
    nodes: Mapping[str, RegisteredNode] | None,
    known: Mapping[str, Mapping[str, Any]],
    now: datetime,
    circles: ReportedCircles | None = None,
) -> Table:
    """Return a line a hospital, of the SuperLink's list (None: it does not answer) and of the run's ``hospitals``.

    Where the run has circles whose members it names, so does a column.
    """
    circle = (
        {name: number for number, names in circles.items() for name in names} if isinstance(circles, Mapping) else {}
    )
    table = Table("hospital")
    for column in ("connection", "since"):
        table.add_column(column, no_wrap=True)
    private = ("epsilon",) if any("epsilon" in about for about in known.values()) else ()
    for column in ("training samples", "last round", "seconds", *private, *(("circle",) if circle else ())):
        table.add_column(column, justify="right")
    table.add_column("trouble")
    for name in sorted({*(nodes or ()), *known}):
        node, about = (nodes or {}).get(name), known.get(name, {})
        if node:
            colour, word = _COLOURS.get(node.status, "white"), _WORDS.get(node.status, node.status)
        elif nodes is None:
            colour, word = "yellow", "not known"
        else:
            colour, word = ("green", "connected") if about.get("there") else ("red", "gone")
        since = ago(node.since, now) if node and node.since else ""
        numbers = [str(about.get(key, "")) for key in ("train", "round", "seconds", *private)]
        numbers += [circle.get(name, "alone" if "round" in about else "")] if circle else []
        trouble = escape(printable(str(about.get("trouble", ""))))
        table.add_row(escape(printable(name)), f"[{colour}]{word}[/]", since, *numbers, trouble)
    return table


def circle_lines(circles: ReportedCircles | None) -> list[str]:
    """Say who learns together with whom; nothing, where nobody does."""
    if not circles:
        return []
    if not isinstance(circles, Mapping):
        sizes = joined(map(str, sorted(circles, reverse=True)))
        return [f"{len(circles)} circles that learn together, of {sizes} hospitals."]
    return [f"Circle {number}: {joined(names)} learn together." for number, names in circles.items()]


def where_it_is(run: Path, status: Mapping[str, Any], now: datetime) -> str:
    """Describe in a line the round of a run, and how to resume one that has stopped."""
    arm, phase = status.get("arm", ""), status.get("phase", "waiting for hospitals")
    round_ = f", {arm}: round {status['round']} of {status['rounds']}" if "round" in status else ""
    updated = f"; last heard of {ago(datetime.fromisoformat(status['updated']), now)}" if "updated" in status else ""
    over = phase == "finished" or is_held(run)
    rest = "" if over else f". It was stopped: resume with  omnifm deploy run OPERATOR --resume {shlex.quote(run.name)}"
    return f"{run}: {phase}{round_}{updated}{rest}"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in words."""
    seconds = max(0, int((now - then).total_seconds()))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            many = seconds // length
            return f"{many} {unit}{'s' if many > 1 else ''} ago"
    return f"{seconds} s ago"
