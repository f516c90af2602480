"""What each section of the report shows: plain lists and dictionaries for the template, charts as SVG.

A section with nothing to show is None, and the template leaves it out.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from omnifm.results.charts import SLOTS, Line, Style, bar_chart, limits, line_chart
from omnifm.results.run_reader import READING_NAMES, READINGS, ArmRecord, Run, finite, lower_is_better, mean
from omnifm.results.verdict import ALONE, POOLED, alone, best_arms, metric_name, signed

PICTURE_BYTES = 3_000_000
CONFUSION_CELLS = 30_000
MOST_CLASSES = 20
OPEN_CLIENTS = 8
PERSONAL_CURVES = 16
BANK_ROUNDS = 5
_MISSING = "–"  # noqa: RUF001 - the typographic sign for nothing here

View = dict[str, Any]


def arm_styles(arms: Sequence[ArmRecord]) -> dict[str, Style]:
    """Give each arm its look: grey for the first in which hospitals stay alone, colours in turn for the others."""
    styles: dict[str, Style] = {}
    place = 0
    for arm in arms:
        if arm.algorithm == ALONE and not any(s.slot == SLOTS - 1 for s in styles.values()):
            styles[arm.name] = Style(SLOTS - 1)
        else:
            styles[arm.name] = Style(place % (SLOTS - 1), place // (SLOTS - 1))
            place += 1
    return styles


def results(run: Run, metric: str) -> View:
    """The test scores: main metric, and the others."""
    names = dict.fromkeys(name for arm in run.finished for name in arm.metrics())
    others = [name for name in names if name != metric]
    return {
        "main": _score_table(run, metric, alone(run)),
        "others": [_score_table(run, name, None) for name in others],
    }


def _score_table(run: Run, metric: str, local: ArmRecord | None) -> View:
    """Rows of clients and columns of arms, each in both readings; the best of a row in a reading is marked."""
    columns = [(arm, reading, arm.scores(reading, metric)) for arm in run.finished for reading in READINGS]
    base = {reading: local.scores(reading, metric) for reading in READINGS} if local else {}
    worst_of: Callable[[Iterable[float]], float] = max if lower_is_better(metric) else min

    def row(name: str, value: Callable[[dict[str, float]], float | None], kind: str = "") -> View:
        values = [value(scores) for _, _, scores in columns]
        cells = []
        for (arm, reading, scores), own in zip(columns, values, strict=True):
            rivals = [v for (_, r, _), v in zip(columns, values, strict=True) if r == reading and v is not None]
            best = own is not None and len(run.finished) > 1 and _is_best(own, rivals, metric)
            note = None
            if kind == "worst":
                note = next((client for client, score in scores.items() if score == own), None)
            elif base and arm is not local and (kind != "mean" or base[reading].keys() == scores.keys()):
                lonely = value(base[reading])
                note = None if own is None or lonely is None else signed(own - lonely)
            cells.append({"text": _number(own), "best": best, "note": note, "reading": reading})
        return {"name": name, "cells": cells, "kind": kind}

    rows = [row(client, partial(_of_client, client)) for client in run.clients]
    rows.append(row("mean", lambda scores: mean(scores.values()), "mean"))
    if len(run.clients) > 1:
        rows.append(row("worst hospital", lambda scores: worst_of(scores.values()) if scores else None, "worst"))
    return {
        "metric": metric_name(metric),
        "arms": [arm.name for arm in run.finished],
        "rows": rows,
        "local": local.name if local else None,
        "lower": lower_is_better(metric),
    }


def _of_client(client: str, scores: dict[str, float]) -> float | None:
    return scores.get(client)


def _is_best(value: float, rivals: Sequence[float], metric: str) -> bool:
    best = min(rivals) if lower_is_better(metric) else max(rivals)
    return _number(value) == _number(best)


def _number(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.3f}".replace("-", "−")  # noqa: RUF001 - the minus sign


def curves(run: Run, styles: dict[str, Style]) -> View | None:
    """Validation metric and training loss by round: the mean, and each hospital."""
    metric = run.main_metric or _likely_metric(run)
    if not any(arm.log for arm in run.arms):
        return None
    name = metric_name(metric or "score")
    charts, tables, small = [], [], []
    for reading in READINGS if metric else ():
        lines = _lines(run, styles, lambda arm, r=reading: arm.curve(r, metric), reading)  # type: ignore[misc]
        if lines:
            title = f"Validation {name}, {READING_NAMES[reading]}, mean over hospitals"
            charts.append((title, line_chart(lines, title, name, ylim=_limits(lines))))
            tables.append(_curve_table(title, lines))
    clients = list(dict.fromkeys([*run.clients, *_evaluated(run)]))
    for reading in READINGS if metric and len(clients) > 1 else ():
        if reading == "personalised" and len(clients) > PERSONAL_CURVES:
            break
        own = [
            (c, _lines(run, styles, lambda arm, c=c, r=reading: arm.curve(r, metric, c), reading))  # type: ignore[misc]
            for c in clients
        ]
        common = _limits([line for _, lines in own for line in lines])
        pairs = [
            (c, line_chart(lines, f"{c}: validation {name}, {READING_NAMES[reading]}", name, small=True, ylim=common))
            for c, lines in own
            if lines
        ]
        if pairs:
            small.append((reading, pairs))
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
    lines = (line for arm in run.arms for line in arm.log if line.get("event") == "evaluation")
    return next((name for line in lines for numbers in line["clients"].values() for name in numbers), None)


def _evaluated(run: Run) -> list[str]:
    lines = (line for arm in run.arms for line in arm.log if line.get("event") == "evaluation")
    return [client for line in lines for client in line["clients"]]


def _lines(
    run: Run, styles: dict[str, Style], curve: Callable[[ArmRecord], list[tuple[int, float]]], reading: str | None
) -> list[Line]:
    pairs = [(arm, curve(arm)) for arm in run.arms]
    return [
        Line(arm.name, styles[arm.name], points, arm.chosen_round(reading) if reading else None)
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
    return {
        "title": title,
        "names": [line.name for line in lines],
        "rows": [(f"{x:g}", [_number(v.get(x)) for v in values]) for x in rounds],
    }


def bars(run: Run, metric: str, styles: dict[str, Style]) -> View | None:
    """The main metric by hospital and arm, for both readings."""
    if not run.clients:
        return None
    clients, name = list(run.clients), metric_name(metric)
    scores = {(arm.name, r): arm.scores(r, metric) for arm in run.finished for r in READINGS}
    values = [v for found in scores.values() for v in found.values()]
    if not values:
        return None
    top = max(values)
    axis = (0.0, min(1.0, 1.2 * top) if top <= 1 else 1.15 * top) if min(values) >= 0 < top else None
    charts = []
    for reading in READINGS:
        series = [
            (arm.name, styles[arm.name], [scores[arm.name, reading].get(c) for c in clients]) for arm in run.finished
        ]
        title = f"Test {name} by hospital, {READING_NAMES[reading]}"
        charts.append((title, bar_chart(clients, series, title, f"test {name}", axis)))
    return {"charts": charts, "arms": [arm.name for arm in run.finished]}


def confusion(run: Run) -> View | None:
    """Confusion tables of every arm, the best first."""
    best = next(iter(best_arms(run, "received")), None)
    if best is None:
        return None
    budget, arms, left_out = CONFUSION_CELLS, [], []
    for arm in [best, *(a for a in run.finished if a is not best)]:
        tables = [(client, arm.table("received", client, "confusion")) for client in run.clients]
        views = [(client, _confusion_view(table, run.label_names)) for client, table in tables if table]
        cost = sum(len(view["rows"]) ** 2 for _, view in views)
        if views and cost > budget:
            left_out.append(arm.name)
        elif views:
            budget -= cost
            arms.append((arm.name, views))
    if not arms and not left_out:
        return None
    return {"arms": arms, "left_out": left_out, "best": best.name}


def _confusion_view(table: list[list[float]], names: Sequence[str]) -> View:
    """Keep the classes that occur, in truth or in prediction; shade each row by its share."""
    size = len(table)
    square = all(len(row) == size for row in table)
    own = [i for i in range(size) if sum(table[i]) or any(row[i] for row in table)] if square else []
    name = [names[i] if i < len(names) else str(i) for i in range(size)]
    hits, total = sum(table[i][i] for i in own), sum(sum(table[i]) for i in own)
    rows = []
    for i in own if len(own) <= MOST_CLASSES else ():
        row = sum(table[i])
        cells = [
            {"text": f"{table[i][j]:g}", "shade": round(10 * table[i][j] / row) if row else 0, "right": i == j}
            for j in own
        ]
        rows.append((name[i], cells))
    mistakes = sorted(((table[i][j], name[i], name[j]) for i in own for j in own if i != j), reverse=True)
    return {
        "names": [name[i] for i in own],
        "rows": rows,
        "hits": f"{hits:g}",
        "total": f"{total:g}",
        "mistakes": [(f"{n:g}", truth, found) for n, truth, found in mistakes[:8] if n],
    }


def pictures(run: Run) -> View | None:
    """Show each picture once, with what every arm says of it (arms whose pictures differ show theirs)."""
    best = next(iter(best_arms(run, "received")), None)
    arms = run.finished if best is None else [best, *(a for a in run.finished if a is not best)]
    found: dict[str, dict[str, View]] = {}
    budget, left_out = PICTURE_BYTES, 0
    for arm in arms:
        for client, panels in (arm.result or {}).get("panels", {}).items():
            shown = found.setdefault(client, {})
            for panel in panels:
                data = _read_png(arm.folder / panel["file"])
                if data is None:
                    continue
                key = hashlib.sha256(data).hexdigest()
                if key not in shown:
                    if len(data) > budget:
                        left_out += 1
                        continue
                    budget -= len(data)
                    # Base64 has no letter that HTML would read as its own.
                    source = "data:image/png;base64," + base64.b64encode(data).decode()
                    shown[key] = {"source": source, "said": {}}
                said = (panel.get("caption", ""), panel.get("right"))
                shown[key]["said"].setdefault(said, []).append(arm.name)
    clients = [(client, list(found[client].values())) for client in found if found[client]]
    if not clients:
        return None
    order = {name: place for place, name in enumerate(run.clients)}
    clients.sort(key=lambda pair: order.get(pair[0], len(order)))
    return {
        "open": clients[:OPEN_CLIENTS],
        "folded": clients[OPEN_CLIENTS:],
        "left_out": left_out,
    }


def _read_png(path: Path) -> bytes | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if data.startswith(b"\x89PNG") else None


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


def clients(run: Run) -> View | None:
    """Who holds what."""
    if not run.clients:
        return None
    splits = ("train", "validation", "test")
    rows = [
        (name, holds.get("group", ""), [holds.get(split, 0) for split in splits]) for name, holds in run.clients.items()
    ]
    return {"rows": rows, "total": [sum(column) for column in zip(*(counts for _, _, counts in rows), strict=True)]}


def again(run: Run) -> View:
    """What it takes to run it again."""
    return {
        "hashes": [(arm.name, (arm.result or {}).get("weights_sha256", _MISSING)) for arm in run.finished],
        "settings": [(arm.name, arm.settings) for arm in run.arms if arm.settings],
    }
