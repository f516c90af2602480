"""A comparison's tables for the terminal and as plain text."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from omnifm.results.comparison.columns import Column, chosen_column, hospital_columns, paired_columns, score_columns
from omnifm.results.comparison.numbers import Summary
from omnifm.results.comparison.reader import ComparedArm
from omnifm.results.numerals import metric_name
from omnifm.results.verdict import ALONE

TERMINAL_HOSPITALS = 8
SWEEPS = "Sweeps: one setting varied; the columns are those of the first table."


def terminal_tables(summary: Summary) -> list[Table]:
    """Return the tables for a terminal of 100 columns: scores, paired comparison, hospitals at the first point.

    The hospitals are left out where they are too many; ``table.txt`` has them all, at each evaluation point.
    """
    kept = ("mean", f"over {ALONE}", "MB", "s/round")
    tables = [_scores(summary, kept)]
    if summary.against_anchor:
        tables.append(_paired(summary, []))
    if summary.sweeps:
        tables.append(_sweeps(summary, kept))
    if len(summary.comparison.clients) <= TERMINAL_HOSPITALS:
        tables.append(_hospitals(summary, summary.comparison.point))
    return tables


def plain_text(summary: Summary) -> str:
    """Return all tables as plain text."""
    tables = [
        _scores(summary),
        _paired(summary, [chosen_column(summary)]),
        *(_hospitals(summary, point) for point in summary.comparison.points),
    ]
    if summary.sweeps:
        tables.append(_sweeps(summary))
    console = Console(file=io.StringIO(), width=1000, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        for table in tables:
            console.print(table)
        for number, text in summary.footnotes:
            console.print(Text(f"({number}) {text}"))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n") + "\n"


def caption(summary: Summary) -> str:
    """Say what the main table holds."""
    comparison = summary.comparison
    seeds = comparison.seeds
    spread = f", mean ± standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else f", seed {seeds[0]}"
    gains = f"; over {' and '.join(summary.gains)}: gain over hospitals on their own" if summary.gains else ""
    return (
        f"Test {metric_name(comparison.metric)}{spread} (of the mean over hospitals; worst: of the worst hospital)"
        f"{gains}. MB: sent both ways in all rounds, per hospital. Bold: best of a column, yardsticks aside."
    )


def paired_caption(summary: Summary) -> str:
    """Say what the table of the paired comparison holds."""
    metric, anchor = metric_name(summary.comparison.metric), summary.anchor
    if anchor is None or not summary.against_anchor:
        return "Settings that tuning chose."
    return (
        f"Difference of test {metric} from {anchor.name} "
        f"(negative: {'better' if summary.lower else 'worse'}), paired by seed and hospital. Interval: bootstrap over "
        f"seeds and hospitals, widened for few of them. p: corrected by Holm over the table, bold below 0.05."
    )


def _scores(summary: Summary, kept: Sequence[str] = ()) -> Table:
    return _table(summary, caption(summary), _kept(score_columns(summary, summary.rows), kept), summary.rows)


def _sweeps(summary: Summary, kept: Sequence[str] = ()) -> Table:
    return _table(summary, SWEEPS, _kept(score_columns(summary, summary.sweeps), kept), summary.sweeps)


def _kept(columns: Sequence[Column], heads: Sequence[str]) -> list[Column]:
    return [column for column in columns if not heads or column.head in heads]


def _paired(summary: Summary, more: Sequence[Column]) -> Table:
    return _table(summary, paired_caption(summary), [*paired_columns(summary), *more], summary.rows)


def _hospitals(summary: Summary, point: str) -> Table:
    comparison = summary.comparison
    title = f"Test {metric_name(comparison.metric)} by hospital, {comparison.points[point]}, mean over seeds."
    return _table(summary, title, hospital_columns(summary, point), summary.rows)


def _table(summary: Summary, title: str, columns: Sequence[Column], arms: Sequence[ComparedArm]) -> Table:
    """Lay columns out, a rule between groups of arms; each table alike, so that eyes find their way."""
    table = Table(title=Text(title), title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", overflow="fold")
    several = len({column.group for column in columns}) > 1
    for column in columns:
        head = f"{column.group}\n{column.head}".replace(" [", "\n[") if several else column.head
        table.add_column(Text(head), justify="right" if column.numeric else "left", overflow="fold")
    for place, arm in enumerate(arms):
        if place and arm.kind != arms[place - 1].kind:
            table.add_section()
        name, note = arm.name, summary.notes.get(arm.name)
        table.add_row(
            Text(f"{name} ({note[0]})" if note else name, style="italic" if arm.kind == "yardstick" else ""),
            *(Text(c.texts[name], style="bold" if name in c.bold else "") for c in columns),
        )
    return table
