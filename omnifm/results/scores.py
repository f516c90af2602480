"""What the report shows of the test: scores as a table and as bars, mistakes.

Plain lists and dictionaries for the template, charts as SVG. A section with nothing to show is None, and the template
leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from omnifm.results.charts import Style, bar_chart
from omnifm.results.numerals import metric_title, number, signed
from omnifm.results.run_reader import ArmRecord, Run, lower_is_better, mean
from omnifm.results.verdict import alone, best_arms
from omnifm.results.view import View

CONFUSION_CELLS = 30_000
MOST_CLASSES = 20


def results(run: Run, metric: str) -> View:
    """The test scores: the main metric by hospital; of all metrics the means, and the others by hospital."""
    names = dict.fromkeys([metric, *(name for arm in run.finished for name in arm.metrics())])
    others = [_score_table(run, name, None) for name in names if name != metric]
    return {
        "main": _score_table(run, metric, alone(run)),
        "means": _mean_table(run, list(names)) if others else None,
        "others": others,
    }


def _mean_table(run: Run, metrics: Sequence[str]) -> View:
    """Rows of metrics, columns of arms at their evaluation points: means over the hospitals that have the metric."""
    rows = []
    for metric in metrics:
        scores = [(point, arm.scores(point, metric)) for arm in run.finished for point in run.points]
        values = [(point, mean(found.values())) for point, found in scores]
        having = {client for _, found in scores for client in found}
        few = f"{len(having)} of {len(run.clients)} hospitals" if len(having) < len(run.clients) else ""
        lower = lower_is_better(metric, run.arms)
        note = ", ".join(filter(None, ("lower is better" if lower else "", few)))
        cells = _cells(run, values, lower, run.places(metric))
        rows.append({"name": metric_title(metric), "kind": "", "note": note, "cells": cells})
    return {
        "metric": "means of all metrics",
        "head": "metric",
        "arms": [arm.name for arm in run.finished],
        "rows": rows,
    }


def _cells(run: Run, values: Sequence[tuple[str, float | None]], lower: bool, decimals: int) -> list[View]:
    """Return what stands in a row, each value at its point; the best of a point is marked, unless all are alike."""
    texts = [number(value, decimals) for _, value in values]
    best = {}
    for point in run.points:
        rivals = [value for r, value in values if r == point and value is not None]
        alike = len({number(value, decimals) for value in rivals}) < 2
        best[point] = None if alike else number(min(rivals) if lower else max(rivals), decimals)
    return [
        {"text": text, "best": text == best[point], "note": None, "point": point}
        for text, (point, _) in zip(texts, values, strict=True)
    ]


def _score_table(run: Run, metric: str, local: ArmRecord | None) -> View:
    """Rows of clients and columns of arms, each at its points; the best of a row at a point is marked."""
    columns = [(arm, point, arm.scores(point, metric)) for arm in run.finished for point in run.points]
    base = {point: local.scores(point, metric) for point in run.points} if local else {}
    lower, decimals = lower_is_better(metric, run.arms), run.places(metric)
    worst_of: Callable[[Iterable[float]], float] = max if lower else min

    def row(name: str, value: Callable[[dict[str, float]], float | None], kind: str = "") -> View:
        values = [value(scores) for _, _, scores in columns]
        pairs = [(point, own) for (_, point, _), own in zip(columns, values, strict=True)]
        cells = _cells(run, pairs, lower, decimals)
        for cell, (arm, point, scores), own in zip(cells, columns, values, strict=True):
            if kind == "worst":
                cell["note"] = next((client for client, score in scores.items() if score == own), None)
            elif base and arm is not local and (kind != "mean" or base[point].keys() == scores.keys()):
                lonely = value(base[point])
                cell["note"] = None if own is None or lonely is None else signed(own - lonely, decimals)
        return {"name": name, "cells": cells, "kind": kind, "note": ""}

    rows = [row(client, partial(_of_client, client)) for client in run.clients]
    rows.append(row("mean", lambda scores: mean(scores.values()), "mean"))
    if len(run.clients) > 1:
        rows.append(row("worst hospital", lambda scores: worst_of(scores.values()) if scores else None, "worst"))
    return {
        "metric": metric_title(metric),
        "head": "hospital",
        "arms": [arm.name for arm in run.finished],
        "rows": rows,
        "local": local.name if local else None,
        "lower": lower,
    }


def _of_client(client: str, scores: dict[str, float]) -> float | None:
    return scores.get(client)


def bars(run: Run, metric: str, styles: dict[str, Style]) -> View | None:
    """The main metric by hospital and arm, for each point."""
    if not run.clients:
        return None
    clients, name = list(run.clients), metric_title(metric)
    scores = {(arm.name, r): arm.scores(r, metric) for arm in run.finished for r in run.points}
    values = [v for found in scores.values() for v in found.values()]
    if not values:
        return None
    top = max(values)
    axis = (0.0, min(1.0, 1.2 * top) if top <= 1 else 1.15 * top) if min(values) >= 0 < top else None
    charts = []
    for point, point_name in run.points.items():
        series = [
            (arm.name, styles[arm.name], [scores[arm.name, point].get(c) for c in clients]) for arm in run.finished
        ]
        title = f"Test {name} by hospital, {point_name}"
        charts.append((title, bar_chart(clients, series, title, f"test {name}", axis, run.places(metric))))
    return {"charts": charts, "arms": [arm.name for arm in run.finished]}


def confusion(run: Run) -> View | None:
    """Confusion tables of every arm, the best first."""
    best = best_arms(run, run.point)
    if not best:
        return None
    budget, arms, left_out = CONFUSION_CELLS, [], []
    for arm in best_first(run):
        tables = [(client, arm.table(run.point, client, "confusion")) for client in run.clients]
        views = [(client, _confusion_view(table, run.label_names)) for client, table in tables if table]
        cost = sum(len(view["rows"]) ** 2 for _, view in views)
        if views and cost > budget:
            left_out.append(arm.name)
        elif views:
            budget -= cost
            arms.append((arm.name, views))
    if not arms and not left_out:
        return None
    return {"arms": arms, "left_out": left_out, "best": best[0].name}


def best_first(run: Run) -> list[ArmRecord]:
    """Return the finished arms, the best in front."""
    best = best_arms(run, run.point)[:1]
    return [*best, *(arm for arm in run.finished if arm not in best)]


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
