"""``report.html`` of a comparison: all that it found, in one file; the same folder gives the same bytes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby

from omnifm.results.comparison.charts import forests, learning, participation, style
from omnifm.results.comparison.columns import (
    Column,
    chosen_column,
    hospital_columns,
    hospital_gain_columns,
    level_columns,
    paired_columns,
    score_columns,
)
from omnifm.results.comparison.numbers import GROUPS, Summary, kind_name, settings_text
from omnifm.results.comparison.reader import ComparedArm
from omnifm.results.comparison.table import caption, paired_caption
from omnifm.results.comparison.verdict import judge
from omnifm.results.numerals import metric_name, number
from omnifm.results.page import holdings, render_page
from omnifm.results.view import View

_SHADED = ("+", "−")  # noqa: RUF001 - the minus sign


def render(summary: Summary) -> str:
    """Return the report as HTML."""
    comparison = summary.comparison
    metric = metric_name(comparison.metric)
    return render_page(
        "comparison.html.j2",
        comparison=comparison,
        metric=metric,
        verdict=judge(summary),
        notes=summary.footnotes,
        caption=caption(summary),
        scores=_table(summary, score_columns(summary, summary.rows), summary.rows),
        sweeps=summary.sweeps and _table(summary, score_columns(summary, summary.sweeps), summary.sweeps),
        hospitals=[
            (text, _table(summary, hospital_columns(summary, key), summary.rows))
            for key, text in comparison.points.items()
        ],
        gains=_gains(summary),
        paired=_paired(summary),
        learning=learning(summary),
        participation=_participation(summary),
        kinds=_kinds(summary),
        tuning=_tuning(summary),
        clients=holdings(comparison.clients),
        again=_again(summary),
    )


def _table(summary: Summary, columns: Sequence[Column], arms: Sequence[ComparedArm], shaded: bool = False) -> View:
    """Columns as rows of arms, group by group; ``shaded`` colours gains and losses."""
    sections = []
    for kind, members in groupby(arms, lambda arm: arm.kind):
        rows = []
        for arm in members:
            texts = [(column, column.texts[arm.name]) for column in columns]
            cells = [(t, arm.name in c.bold, _tone(summary, t) if shaded else "") for c, t in texts]
            rows.append((arm.name, summary.notes.get(arm.name, (None, ""))[0], cells))
        sections.append((kind_name(kind), rows))
    groups = [(group, len(list(members))) for group, members in groupby(columns, lambda column: column.group)]
    first = [not at or columns[at - 1].group != column.group for at, column in enumerate(columns)]
    heads = [(column.head, column.numeric, new) for column, new in zip(columns, first, strict=True)]
    return {"groups": groups, "heads": heads, "sections": sections, "width": len(columns) + 1}


def _tone(summary: Summary, text: str) -> str:
    """Return the class of a difference: gain, loss, or nothing."""
    if not text.startswith(_SHADED):
        return ""
    return "gain" if text.startswith("+") != summary.lower else "loss"


def _gains(summary: Summary) -> list[View]:
    """Gains over hospitals on their own: forest plots, and hospital by hospital."""
    return [
        {
            "base": base,
            "charts": forests(summary, pairs, f"Gain over {base}"),
            "tables": [
                (text, _table(summary, hospital_gain_columns(summary, base, key), summary.rows, shaded=True))
                for key, text in summary.comparison.points.items()
            ],
        }
        for base, pairs in summary.gains.items()
        if pairs
    ]


def _paired(summary: Summary) -> View | None:
    """The comparison with the anchor: forest plots and the table."""
    if summary.anchor is None or not summary.against_anchor:
        return None
    columns = [*paired_columns(summary), chosen_column(summary)]
    return {
        "anchor": summary.anchor.name,
        "caption": paired_caption(summary),
        "charts": forests(summary, summary.against_anchor, f"Difference from {summary.anchor.name}"),
        "table": _table(summary, columns, summary.rows),
    }


def _participation(summary: Summary) -> View | None:
    """Scores when fewer hospitals take part in a round, of the arms that were played so."""
    shown = participation(summary)
    if shown is None:
        return None
    return {**shown, "table": _table(summary, level_columns(summary), summary.sampled)}


def _kinds(summary: Summary) -> list[tuple[str, View]]:
    """The colours of the kinds of arms that are there."""
    first = {arm.kind: arm for arm in reversed([*summary.rows, *summary.sweeps])}
    return [
        (kind_name(kind), {"swatch": style(first[kind]).swatch})
        for kind in [*GROUPS, *(kind for kind in first if kind not in GROUPS)]
        if kind in first
    ]


def _tuning(summary: Summary) -> list[View]:
    """Every point that was tried, with its validation score; the chosen one is marked."""
    views = []
    for arm in [*summary.rows, *summary.sweeps]:
        points = [
            (
                settings_text(point.settings) or "defaults",
                number(point.validation, summary.places),
                point.failure or "",
                at == arm.chosen,
            )
            for at, point in enumerate(arm.points)
        ]
        if points:
            views.append({"name": arm.name, "points": points})
    return views


def _again(summary: Summary) -> View:
    """What it takes to play it again."""
    asked = summary.comparison.asked
    words = ["omnifm", "compare", "experiment.toml"]
    words += ["--algorithms", asked["algorithms"]] if asked.get("algorithms") else []
    words += ["--seeds", str(asked["seeds"])] if "seeds" in asked else []
    words += ["--ablate"] if asked.get("ablate") else []
    words += [word for sweep in asked.get("sweep", ()) for word in ("--sweep", sweep)]
    hashes = [
        (arm.name, cell.seed, f"{100 * cell.level:g} %", cell.record.result.get("weights_sha256", ""))
        for arm in summary.comparison.arms
        for cell in arm.cells
        if cell.record.result
    ]
    return {"command": shlex.join([*words, "--out", "../again"]), "hashes": hashes}
