"""The charts of a comparison's report: small multiples, one an arm before all others in grey, and forest plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from omnifm.results.charts import Across, Interval, Line, Style, forest_chart, limits, line_chart
from omnifm.results.comparison.columns import SURE
from omnifm.results.comparison.numbers import Pairs, Summary, elapsed, percent, traffic
from omnifm.results.comparison.reader import Cell, ComparedArm
from omnifm.results.numerals import metric_name
from omnifm.results.run_reader import mean
from omnifm.results.verdict import ALONE, POOLED
from omnifm.results.view import View

_SLOTS = {"omnifm": 0, "reference": 1, "own": 2, "ablation": 3, "control": 4, "sweep": 5, "yardstick": 6}
_WIDE = 10
"""From this ratio of most to least traffic on, its axis is logarithmic."""

Charts = list[tuple[str, Markup]]


def style(arm: ComparedArm) -> Style:
    """Return how an arm looks: a colour a kind."""
    return Style(_SLOTS.get(arm.kind, _SLOTS["own"]))


def learning(summary: Summary) -> list[View]:
    """Validation against rounds at each evaluation point, and against megabytes and seconds in the first."""
    first, first_name = next(iter(summary.comparison.points.items()))
    name = metric_name(summary.comparison.metric)
    views = []
    for point, point_name in summary.comparison.points.items():
        lines = _curves(summary, point, None)
        views.append(_multiples(lines, f"Validation {name} against rounds, {point_name}", Across()))
    share = 1 / max(len(summary.comparison.clients), 1)
    sent = [
        (arm, line)
        for arm, line in _curves(summary, first, lambda cell: {n: share * v for n, v in traffic(cell).items()})
        if arm.algorithm != POOLED and line.points[-1][0] > 0
    ]
    ends = [line.points[-1][0] for _, line in sent]
    log = bool(ends) and max(ends) > _WIDE * min(ends)
    scale = ", logarithmic" if log else ""
    title = f"Validation {name} against MB sent both ways so far, per hospital{scale}, {first_name}"
    views.append(_multiples(sent, title, Across("MB", whole=False, log=log)))
    title = f"Validation {name} against seconds so far, {first_name}"
    views.append(_multiples(_curves(summary, first, elapsed), title, Across("second", whole=False)))
    return [view for view in views if view["charts"]]


def participation(summary: Summary) -> View | None:
    """Test scores against the share of hospitals that take part in a round."""
    levels, name = sorted(summary.comparison.levels), metric_name(summary.comparison.metric)
    if not summary.sampled:
        return None
    views = []
    for point, point_name in summary.comparison.points.items():
        lines = []
        for arm in summary.sampled:
            scores = [(100 * level, summary.score(arm, point, level)) for level in levels]
            known = [(level, score.mean, score.spread or 0.0) for level, score in scores if score.mean is not None]
            if len(known) > 1:
                low, high = [m - s for _, m, s in known], [m + s for _, m, s in known]
                lines.append((arm, Line(arm.name, style(arm), [(level, m) for level, m, _ in known], None, low, high)))
        title = f"Test {name} against participation in percent, {point_name}"
        views.append(_multiples(lines, title, Across("percent", ticks=[100 * level for level in levels])))
    return {"views": [view for view in views if view["charts"]], "levels": [percent(level) for level in levels]}


def forests(summary: Summary, pairs: Pairs, title: str) -> Charts:
    """Differences with their intervals, a chart an evaluation point on one scale."""
    ends = [0.0, *(v for pair in pairs.values() for v in (pair.low, pair.high, pair.difference) if v is not None)]
    margin = 0.05 * (max(ends) - min(ends)) or 0.01
    charts = []
    for point, text in summary.comparison.points.items():
        rows: list[Interval] = []
        kind = ""
        for arm in summary.rows:
            if pair := pairs.get((arm.name, point)):
                sure = pair.holm is not None and pair.holm < SURE
                gap = bool(rows) and arm.kind != kind
                rows.append(Interval(arm.name, style(arm), pair.difference, pair.low, pair.high, sure, gap))
                kind = arm.kind
        if rows:
            full, below = f"{title}, {text}", f"difference of test {metric_name(summary.comparison.metric)}"
            charts.append((full, forest_chart(rows, full, below, (min(ends) - margin, max(ends) + margin))))
    return charts


def _curves(
    summary: Summary, point: str, cost: Callable[[Cell], dict[int, float]] | None
) -> list[tuple[ComparedArm, Line]]:
    """Return each arm's validation curve over rounds, or over what the rounds have cost so far: mean and range."""
    lines = []
    for arm in [*summary.rows, *summary.sweeps]:
        cells = [cell for cell in arm.at(summary.comparison.level) if cell.record.finished]
        runs = [run for cell in cells if (run := _run(cell, point, summary.comparison.metric, cost))]
        shared = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
        if shared:
            points = [(mean(run[n][0] for run in runs) or 0.0, mean(run[n][1] for run in runs) or 0.0) for n in shared]
            low, high = ([end(run[n][1] for run in runs) for n in shared] for end in (min, max))
            lines.append((arm, Line(arm.name, style(arm), points, None, low, high)))
    return lines


def _run(
    cell: Cell, point: str, metric: str, cost: Callable[[Cell], dict[int, float]] | None
) -> dict[int, tuple[float, float]]:
    """Return a cell's validation scores by round, each with what it stands over."""
    spent = cost(cell) if cost else {}
    return {
        number: (sum(v for r, v in spent.items() if r <= number) if cost else float(number), value)
        for number, value in cell.record.curve(point, metric)
    }


def _multiples(lines: Sequence[tuple[ComparedArm, Line]], title: str, across: Across) -> View:
    """Return a small chart for each arm, all on one scale; hospitals on their own are dashed in each."""
    every = [line for _, line in lines]
    ylim = limits([y for line in every for y in [*(y for _, y in line.points), *(line.low or ()), *(line.high or ())]])
    xs = [x for line in every for x, _ in line.points if x > 0 or not across.log]
    xlim = None
    if xs and across.ticks is None:
        xlim = (min(xs) / 1.2, max(xs) * 1.2) if across.log else (0.0, max(xs) * 1.03)
    elif xs:
        xlim = (min(xs) - 6, max(xs) + 6)
    local = next((Line(ALONE, Style(6, 1), line.points) for arm, line in lines if arm.name == ALONE), None)
    charts = []
    for arm, line in lines:
        baseline = [local] if local and arm.name != ALONE else []
        others = [other for other in every if other is not line]
        svg = line_chart(
            [*baseline, line], f"{title}: {arm.name}", "", True, ylim, xlim, across=across, background=others
        )
        charts.append((arm.name, svg))
    return {"title": title, "charts": charts, "local": local is not None}
