"""The columns of a comparison's tables, as text: the same for the terminal, plain text, LaTeX and the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from omnifm.results.comparison_numbers import Score, Summary, settings_text
from omnifm.results.comparison_reader import ComparedArm
from omnifm.results.paired import Paired
from omnifm.results.run_reader import READING_NAMES
from omnifm.results.verdict import signed
from omnifm.results.view import MISSING, number

SURE = 0.05
"""A corrected p below this is shown in bold."""


@dataclass(frozen=True)
class Column:
    """Texts of one column by arm, and the arms whose text is bold. ``group`` stands above several columns."""

    group: str
    head: str
    texts: dict[str, str]
    bold: frozenset[str] = frozenset()
    numeric: bool = True


def score_columns(summary: Summary) -> list[Column]:
    """Mean and spread, worst hospital and gains over hospitals on their own in both readings; traffic and time."""
    columns = []
    for reading, group in READING_NAMES.items():
        scores = {arm.name: summary.score(arm, reading) for arm in summary.rows}
        columns += [
            _best(summary, group, "mean", {n: s.mean for n, s in scores.items()}, lambda n, s=scores: _spread(s[n])),  # type: ignore[misc]
            _best(summary, group, "worst", {n: s.worst for n, s in scores.items()}),
        ]
        for base, pairs in summary.gains.items():
            gains = {a.name: p.difference if (p := pairs.get((a.name, reading))) else None for a in summary.rows}
            columns.append(
                _best(summary, group, f"over {base}", gains, lambda n, g=gains: signed(g[n]))  # type: ignore[misc]
            )
    megabytes = {arm.name: summary.megabytes(arm) for arm in summary.rows}
    seconds = {arm.name: summary.seconds(arm) for arm in summary.rows}
    return [
        *columns,
        _best(summary, "cost", "MB", megabytes, lambda n: f"{megabytes[n]:.2f}", lower=True),
        _best(summary, "cost", "s/round", seconds, lambda n: f"{seconds[n]:.2f}", lower=True),
    ]


def paired_columns(summary: Summary) -> list[Column]:
    """The difference from the anchor, its interval and its corrected p, in both readings."""
    columns = []
    for reading, group in READING_NAMES.items():
        pairs = {arm.name: summary.against_anchor.get((arm.name, reading)) for arm in summary.rows}
        sure = frozenset(n for n, pair in pairs.items() if pair and pair.holm is not None and pair.holm < SURE)
        columns += [
            Column(group, "difference [95 % interval]", {n: difference(p) for n, p in pairs.items()}, sure),
            Column(group, "p", {n: chance(p) for n, p in pairs.items()}, sure),
        ]
    return columns


def hospital_columns(summary: Summary, reading: str) -> list[Column]:
    """The mean over seeds of each hospital in one reading."""
    found = {arm.name: summary.by_hospital(arm, reading) for arm in summary.rows}
    return [
        _best(summary, READING_NAMES[reading], client, {name: values[place] for name, values in found.items()})
        for place, client in enumerate(summary.comparison.clients)
    ]


def chosen_column(summary: Summary) -> Column:
    """The settings that tuning chose."""
    texts = {arm.name: settings_text(arm.settings) or MISSING for arm in summary.rows}
    return Column("tuning", "chosen", texts, numeric=False)


def sweep_columns(summary: Summary) -> list[Column]:
    """What the arms that vary one setting reach, in both readings."""
    settings = {arm.name: settings_text(arm.settings) or MISSING for arm in summary.sweeps}
    columns = [Column("", "setting", settings, numeric=False)]
    for reading, group in READING_NAMES.items():
        scores = {arm.name: summary.score(arm, reading) for arm in summary.sweeps}
        columns.append(Column(group, "mean", {name: _spread(score) for name, score in scores.items()}))
        columns.append(Column(group, "worst", {name: number(score.worst) for name, score in scores.items()}))
    return columns


def difference(pair: Paired | None) -> str:
    """Return a difference with its interval, if it has one."""
    if pair is None:
        return MISSING
    text = signed(pair.difference)
    return text if pair.low is None or pair.high is None else f"{text} [{signed(pair.low)}, {signed(pair.high)}]"


def chance(pair: Paired | None) -> str:
    """Return a comparison's p, corrected."""
    if pair is None or pair.holm is None:
        return MISSING
    return "<0.001" if pair.holm < 0.001 else f"{pair.holm:.3f}"


def _spread(score: Score) -> str:
    return number(score.mean) if score.spread is None else f"{number(score.mean)} ± {number(score.spread)}"


def _best(
    summary: Summary,
    group: str,
    head: str,
    values: dict[str, float | None],
    text: Callable[[str], str] | None = None,
    lower: bool | None = None,
) -> Column:
    """Make a column in which the best is bold, and what shows as equal to it; yardsticks are passed over."""
    shown = {n: MISSING if v is None else text(n) if text else number(v) for n, v in values.items()}
    rivals = {arm.name: v for arm in summary.rows if competes(arm) and (v := values[arm.name]) is not None}
    choose: Callable[[Iterable[float]], float] = min if (summary.lower if lower is None else lower) else max
    top = choose(rivals.values()) if len(rivals) > 1 else None
    return Column(group, head, shown, frozenset(n for n, v in rivals.items() if top is not None and _same(v, top)))


def competes(arm: ComparedArm) -> bool:
    """Tell whether an arm can be the best of a column."""
    return arm.kind != "yardstick"


def _same(value: float, other: float) -> bool:
    return f"{value:.3f}" == f"{other:.3f}"
