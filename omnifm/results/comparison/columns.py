"""The columns of a comparison's tables, as text: the same for the terminal, plain text, LaTeX and the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from omnifm.results.comparison.numbers import Score, Summary, percent, settings_text
from omnifm.results.comparison.paired import Paired
from omnifm.results.comparison.reader import ComparedArm
from omnifm.results.numerals import MISSING, number, signed

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


def score_columns(summary: Summary, arms: Sequence[ComparedArm]) -> list[Column]:
    """Mean and spread, worst hospital and gains over hospitals on their own at each point; traffic and time."""
    columns, decimals = [], summary.places
    for point, group in summary.comparison.points.items():
        scores = {arm.name: summary.score(arm, point) for arm in arms}
        means, worst = {n: s.mean for n, s in scores.items()}, {n: s.worst for n, s in scores.items()}
        columns.append(
            _best(
                group,
                "mean",
                arms,
                means,
                {n: _spread(s, decimals) for n, s in scores.items()},
                decimals,
                summary.lower,
            )
        )
        columns.append(_best(group, "worst", arms, worst, _numbers(worst, decimals), decimals, summary.lower))
        for base, pairs in summary.gains.items():
            gains = {a.name: p.difference if (p := pairs.get((a.name, point))) else None for a in arms}
            texts = {n: MISSING if gain is None else signed(gain, decimals) for n, gain in gains.items()}
            columns.append(_best(group, f"over {base}", arms, gains, texts, decimals, summary.lower))
    cost = (("MB", summary.megabytes), ("s/round", summary.seconds))
    for head, measure in cost:
        spent = {arm.name: measure(arm) for arm in arms}
        columns.append(_best("cost", head, arms, spent, _numbers(spent, 2), 2, lower=True))
    return columns


def paired_columns(summary: Summary) -> list[Column]:
    """The difference from the anchor, its interval and its corrected p, at each point; none without an anchor."""
    columns: list[Column] = []
    if not summary.against_anchor:
        return columns
    for point, group in summary.comparison.points.items():
        pairs = {arm.name: summary.against_anchor.get((arm.name, point)) for arm in summary.rows}
        sure = frozenset(n for n, pair in pairs.items() if pair and pair.holm is not None and pair.holm < SURE)
        columns += [
            Column(
                group, "difference [95 % interval]", {n: difference(p, summary.places) for n, p in pairs.items()}, sure
            ),
            Column(group, "p", {n: chance(p) for n, p in pairs.items()}, sure),
        ]
    return columns


def hospital_columns(summary: Summary, point: str) -> list[Column]:
    """The mean over seeds of each hospital at one evaluation point."""
    arms, columns, decimals = summary.rows, [], summary.places
    found = {arm.name: summary.by_hospital(arm, point) for arm in arms}
    for place, client in enumerate(summary.comparison.clients):
        values = {name: scores[place] for name, scores in found.items()}
        texts, group = _numbers(values, decimals), summary.comparison.points[point]
        columns.append(_best(group, client, arms, values, texts, decimals, summary.lower))
    return columns


def hospital_gain_columns(summary: Summary, base: str, point: str) -> list[Column]:
    """The mean gain over a yardstick of each hospital at one evaluation point."""
    found = {arm.name: summary.by_hospital(arm, point) for arm in summary.rows}
    columns = []
    for place, client in enumerate(summary.comparison.clients):
        texts = {}
        for name, scores in found.items():
            value, alone = scores[place], found[base][place]
            known = name != base and value is not None and alone is not None
            texts[name] = signed(value - alone, summary.places) if known else MISSING  # type: ignore[operator]
        columns.append(Column(summary.comparison.points[point], client, texts))
    return columns


def level_columns(summary: Summary) -> list[Column]:
    """Mean and spread at each level of participation, at each evaluation point."""
    arms, columns, decimals = summary.sampled, [], summary.places
    for point, group in summary.comparison.points.items():
        for level in sorted(summary.comparison.levels):
            scores = {arm.name: summary.score(arm, point, level) for arm in arms}
            means = {name: score.mean for name, score in scores.items()}
            texts = {name: _spread(score, decimals) for name, score in scores.items()}
            columns.append(_best(group, percent(level), arms, means, texts, decimals, summary.lower))
    return columns


def chosen_column(summary: Summary) -> Column:
    """The settings that tuning chose."""
    texts = {arm.name: settings_text(arm.settings) or MISSING for arm in summary.rows}
    return Column("tuning", "chosen", texts, numeric=False)


def difference(pair: Paired | None, decimals: int) -> str:
    """Return a difference with its interval, if it has one."""
    if pair is None:
        return MISSING
    text = signed(pair.difference, decimals)
    if pair.low is None or pair.high is None:
        return text
    return f"{text} [{signed(pair.low, decimals)}, {signed(pair.high, decimals)}]"


def chance(pair: Paired | None) -> str:
    """Return a comparison's p, corrected."""
    if pair is None or pair.holm is None:
        return MISSING
    return "<0.001" if pair.holm < 0.001 else f"{pair.holm:.3f}"


def _spread(score: Score, decimals: int) -> str:
    text = number(score.mean, decimals)
    return text if score.spread is None else f"{text} ± {number(score.spread, decimals)}"


def _numbers(values: dict[str, float | None], decimals: int) -> dict[str, str]:
    return {name: number(value, decimals) for name, value in values.items()}


def _best(
    group: str,
    head: str,
    arms: Sequence[ComparedArm],
    values: dict[str, float | None],
    texts: dict[str, str],
    decimals: int,
    lower: bool,
) -> Column:
    """Make a column in which the best is bold, and what shows as equal to it; yardsticks are passed over."""
    rivals = {arm.name: v for arm in arms if competes(arm) and (v := values[arm.name]) is not None}
    choose: Callable[[Iterable[float]], float] = min if lower else max
    top = number(choose(rivals.values()), decimals) if len(rivals) > 1 else None
    return Column(group, head, texts, frozenset(n for n, value in rivals.items() if number(value, decimals) == top))


def competes(arm: ComparedArm) -> bool:
    """Tell whether an arm can be the best of a column."""
    return arm.kind != "yardstick"
