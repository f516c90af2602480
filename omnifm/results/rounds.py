"""What the report shows of the rounds as they went by: how the arms learn, whom the bank serves, what it costs.

Plain lists and dictionaries for the template, charts as SVG. A section with nothing to show is None, and the template
leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any

from omnifm.results.charts import Line, Style, limits, line_chart
from omnifm.results.numerals import metric_name, number, places
from omnifm.results.run_reader import POINT_NAMES, ArmRecord, Run, finite, mean
from omnifm.results.verdict import POOLED
from omnifm.results.view import View

PERSONAL_CURVES = 16
BANK_ROUNDS = 5


def curves(run: Run, styles: dict[str, Style]) -> View | None:
    """Validation metric and training loss by round: the mean, and each hospital."""
    metric = run.main_metric or _likely_metric(run)
    if not any(arm.log for arm in run.arms):
        return None
    name = metric_name(metric or "score")
    charts, tables, small = [], [], []
    for point in POINT_NAMES if metric else ():
        lines = _lines(run, styles, lambda arm, r=point: arm.curve(r, metric), point)  # type: ignore[misc]
        if lines:
            title = f"Validation {name}, {POINT_NAMES[point]}, mean over hospitals"
            charts.append((title, line_chart(lines, title, name, ylim=_limits(lines))))
            tables.append(_curve_table(title, lines))
    clients = list(dict.fromkeys([*run.clients, *(client for clients in _evaluations(run) for client in clients)]))
    for point in POINT_NAMES if metric and len(clients) > 1 else ():
        if point == "after_local_training" and len(clients) > PERSONAL_CURVES:
            break
        own = [
            (c, _lines(run, styles, lambda arm, c=c, r=point: arm.curve(r, metric, c), point))  # type: ignore[misc]
            for c in clients
        ]
        common = _limits([line for _, lines in own for line in lines])
        pairs = [
            (c, line_chart(lines, f"{c}: validation {name}, {POINT_NAMES[point]}", name, small=True, ylim=common))
            for c, lines in own
            if lines
        ]
        if pairs:
            small.append((point, pairs))
    losses = _lines(run, styles, lambda arm: arm.loss(), None)
    if losses:
        title = "Training loss, mean over the round's hospitals"
        charts.append((title, line_chart(losses, title, "loss")))
        tables.append(_curve_table(title, losses))
    if not charts:
        return None
    arms = [arm.name for arm in run.arms if arm.log]
    return {
        "charts": charts,
        "tables": tables,
        "small": small,
        "arms": arms,
        "left_out": bool(small) and len(clients) > PERSONAL_CURVES,
    }


def _likely_metric(run: Run) -> str | None:
    """Return the first metric of the logs, for a run of which no arm is finished."""
    return next((name for clients in _evaluations(run) for numbers in clients.values() for name in numbers), None)


def _evaluations(run: Run) -> list[dict[str, dict[str, Any]]]:
    """Return the numbers by client of every evaluation."""
    return [line["clients"] for arm in run.arms for line in arm.log if line.get("event") == "evaluation"]


def _lines(
    run: Run, styles: dict[str, Style], curve: Callable[[ArmRecord], list[tuple[int, float]]], point: str | None
) -> list[Line]:
    pairs = [(arm, curve(arm)) for arm in run.arms]
    return [
        Line(arm.name, styles[arm.name], points, arm.chosen_round(point) if point else None)
        for arm, points in pairs
        if points
    ]


def _limits(lines: Iterable[Line]) -> tuple[float, float] | None:
    return limits([y for line in lines for _, y in line.points])


def _curve_table(title: str, lines: Sequence[Line]) -> View:
    rounds = sorted({x for line in lines for x, _ in line.points})
    if len(rounds) > 25:
        rounds = sorted({rounds[round(i * (len(rounds) - 1) / 24)] for i in range(25)})
    values = [dict(line.points) for line in lines]
    decimals = places(y for line in lines for _, y in line.points)
    return {
        "title": title,
        "names": [line.name for line in lines],
        "rows": [(f"{x:g}", [number(v.get(x), decimals) for v in values]) for x in rounds],
    }


def bank(run: Run, styles: dict[str, Style]) -> View | None:
    """The bank: who retrieves whose prototypes, its size, the drift."""
    entries, drifts, heats = [], [], []
    for arm in run.arms:
        reports = [(line["round"], line.get("report") or {}) for line in arm.rounds]
        sizes = [(n, v) for n, r in reports if (v := finite(r.get("bank_entries"))) is not None]
        if sizes:
            entries.append(Line(arm.name, styles[arm.name], sizes))
        spread = [(n, [v for v in map(finite, (r.get("drift") or {}).values()) if v is not None]) for n, r in reports]
        spread = [(n, values) for n, values in spread if values]
        if spread:
            points = [(n, sum(values) / len(values)) for n, values in spread]
            low, high = [min(values) for _, values in spread], [max(values) for _, values in spread]
            drifts.append(Line(arm.name, styles[arm.name], points, None, low, high))
        if heat := _heat(arm, [r["retrieved"] for _, r in reports if any((r.get("retrieved") or {}).values())], run):
            heats.append(heat)
    if not entries and not heats and not drifts:
        return None
    charts = []
    if entries:
        title = "Entries in the bank"
        charts.append((title, line_chart(entries, title, "prototypes", zero=True)))
    if drifts:
        title = "Drift of prototypes: mean over hospitals, and their range"
        charts.append((title, line_chart(drifts, title, "cosine distance", zero=True)))
    return {"charts": charts, "heats": heats, "arms": [line.name for line in entries or drifts]}


def _heat(arm: ArmRecord, retrieved: Sequence[dict[str, dict[str, float]]], run: Run) -> View | None:
    """Who retrieved whose prototypes in the last rounds, each row in shares of its sum."""
    last = retrieved[-BANK_ROUNDS:]
    counts: dict[str, dict[str, float]] = {}
    for report in last:
        for client, taken in report.items():
            row = counts.setdefault(client, {})
            for owner, count in taken.items():
                row[owner] = row.get(owner, 0) + (finite(count) or 0)
    counts = {client: row for client, row in counts.items() if sum(row.values()) > 0}
    if not counts:
        return None
    known = dict.fromkeys([*run.clients, *counts, *(owner for row in counts.values() for owner in row)])
    readers = [client for client in known if client in counts]
    owners = [owner for owner in known if any(row.get(owner) for row in counts.values()) or owner in counts]
    rows = []
    for client in readers:
        total = sum(counts[client].values())
        shares = [(owner, 100 * counts[client].get(owner, 0) / total) for owner in owners]
        cells = [
            {
                "text": f"{s:.0f}" if s >= 0.5 else "<1" if s > 0 else "",
                "shade": round(s / 10),
                "right": owner == client,
            }
            for owner, s in shares
        ]
        rows.append((client, cells))
    others = mean(1 - counts[c].get(c, 0) / sum(counts[c].values()) for c in readers)
    return {
        "arm": arm.name,
        "owners": owners,
        "rows": rows,
        "rounds": len(last),
        "others": f"{100 * (others or 0):.0f}",
    }


def cost(run: Run, styles: dict[str, Style]) -> View | None:
    """Bytes and seconds of each arm."""
    rows, traffic, times = [], [], []
    for arm in run.arms:
        lines = arm.rounds
        if not lines:
            continue
        down = [finite(line.get("bytes_down")) or 0 for line in lines]
        up = [finite(line.get("bytes_up")) or 0 for line in lines]
        seconds = [finite(line.get("seconds")) or 0 for line in lines]
        numbers = [line["round"] for line in lines]
        both = [(n, (d + u) / 1e6) for n, d, u in zip(numbers, down, up, strict=True)]
        traffic.append(Line(arm.name, styles[arm.name], both))
        times.append(Line(arm.name, styles[arm.name], list(zip(numbers, seconds, strict=True))))
        rows.append(
            (
                arm.name,
                str(len(lines)),
                _megabytes(sum(down) / len(down)),
                _megabytes(sum(up) / len(up)),
                _megabytes(sum(down) + sum(up)),
                f"{median(seconds):.2f}",
                _duration(sum(seconds)),
            )
        )
    if not rows:
        return None
    pooled = [arm.name for arm in run.arms if arm.rounds and arm.algorithm == POOLED]
    charts = [
        ("Traffic in each round, down and up", line_chart(traffic, "Traffic in each round", "MB", zero=True)),
        ("Time of each round", line_chart(times, "Time of each round", "seconds", zero=True)),
    ]
    return {"rows": rows, "charts": charts, "arms": [row[0] for row in rows], "pooled": pooled}


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.2f}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
