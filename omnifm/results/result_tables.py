"""The tables of a run and of a comparison, as text; every form of output takes them from here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import pandas as pd

from omnifm.results import formatting as f
from omnifm.results.findings import ARM_KINDS, SHORT, Findings
from omnifm.results.result_folder import ArmRecord
from omnifm.results.summary import SURE, client_means, summary
from omnifm.results.table import TextTable
from omnifm.utils.words import joined

_Frame = TypeVar("_Frame", pd.DataFrame, pd.Series)

_TESTED = (
    "paired by seed and hospital. Interval: 95 %, bootstrap over seeds and hospitals. p: corrected by Holm's method. "
    f"Clearly: p below {SURE}; likely: the interval excludes zero. Gain / lose: number of hospitals."
)
_COSTS = {
    "rounds": "rounds", "megabytes_down": "MB down per round", "megabytes_up": "MB up per round",
    "megabytes_per_client": "MB per hospital", "seconds_per_round": "s per round (median)", "seconds": "s in total",
}  # fmt: skip


class _Columns:
    """Collects columns of text, a row for each arm."""

    def __init__(self, found: Findings, arms: Sequence[ArmRecord]) -> None:
        self.names = [arm.name for arm in arms]
        self.rivals = [arm.name for arm in arms if arm.kind != "baseline"]
        self.notes = {name: found.notes[name] for name in self.names if name in found.notes}
        kinds = [ARM_KINDS.get(arm.kind, arm.kind) if found.folder.is_comparison else "" for arm in arms]
        labels = [f"{name} {self.notes.get(name, '').partition(' ')[0]}".rstrip() for name in self.names]
        self.index = pd.MultiIndex.from_arrays([kinds, labels])
        self.texts: dict[tuple[str, str], list[str]] = {}
        self.bold: dict[tuple[str, str], list[bool]] = {}

    def add(self, group: str, head: str, texts: pd.Series, bold: pd.Series | None = None) -> None:
        """Add a column of texts by arm."""
        self.texts[group, head] = texts.astype(object).reindex(self.names, fill_value=f.MISSING).tolist()
        self.bold[group, head] = pd.Series(dtype=bool).reindex(self.names, fill_value=False).tolist()
        if bold is not None:
            self.bold[group, head] = bold.reindex(self.names, fill_value=False).tolist()

    def scores(
        self, group: str, head: str, values: pd.Series, decimals: int, lower: bool, texts: pd.Series | None = None
    ) -> None:
        """Add a column of numbers. The best is bold, and what looks equal to it; baselines are passed over."""
        shown = values.astype(float).round(decimals)
        rivals = shown.reindex(self.rivals).dropna()
        top = rivals.min() if lower else rivals.max()
        bold = (shown == top) & shown.index.isin(self.rivals) & (len(rivals) > 1)
        self.add(group, head, values.map(lambda value: f.number(value, decimals)) if texts is None else texts, bold)

    def table(self, key: str, title: str) -> TextTable:
        """Return what was collected."""
        cells, bold = (pd.DataFrame(columns, index=self.index) for columns in (self.texts, self.bold))
        return TextTable(key, title, cells, bold, list(dict.fromkeys(self.notes.values())))


def score_table(found: Findings, arms: Sequence[ArmRecord]) -> TextTable:
    """Mean and spread, worst client and gains over clients alone at each evaluation point; traffic and time."""
    columns, decimals = _Columns(found, arms), found.decimals
    for point in found.folder.points:
        group, scores = SHORT[point], at(found.scores, point)
        columns.scores(group, "mean", scores["mean"], decimals, found.lower, _spread(scores, decimals))
        columns.scores(group, "worst", scores["worst"], decimals, found.lower)
        for base in [base for base in found.baselines if base in found.comparisons]:
            gain = at(found.comparisons[base], point)["difference"]
            columns.scores(group, f"over {base}", gain, decimals, found.lower, _signed(gain, decimals))
    columns.scores("cost", "MB", found.costs["megabytes_per_client"], 2, lower=True)
    columns.scores("cost", "s/round", found.costs["seconds_per_round"], 2, lower=True)
    if arms and arms == found.sweeps:
        return columns.table("sweeps", "Sweeps: one setting varied; columns as in the table of results.")
    seeds = ", ".join(map(str, found.folder.seeds))
    spread = f"mean ± standard deviation over {len(found.folder.seeds)} seeds" if "," in seeds else f"seed {seeds}"
    points = " and ".join(f"{SHORT[point]} = {name}" for point, name in found.folder.points.items())
    gains = f" Over {joined(found.baselines)}: gain over hospitals training alone." if found.baselines else ""
    title = f"Test {f.metric_title(found.metric)}, {spread}, {points}. Worst: of the worst hospital.{gains}"
    return columns.table("scores", f"{title} MB: both ways, all rounds, per hospital. Bold: best, baselines aside.")


def difference_table(found: Findings, base: str) -> TextTable:
    """Every arm's difference from ``base``, its interval, its corrected p and what follows, at each point."""
    columns = _Columns(found, [arm for arm in found.rows if arm.name != base])
    for point in found.folder.points:
        group, table = SHORT[point], at(found.comparisons[base], point)
        sure = table["p_holm"] < SURE
        ends = zip(table["difference"], table["low"], table["high"], strict=True)
        intervals = pd.Series([f.with_interval(*three, found.decimals) for three in ends], table.index, dtype=object)
        columns.add(group, "difference [95 % interval]", intervals, sure)
        columns.add(group, "p", table["p_holm"].map(f.p_value), sure)
        columns.add(group, "verdict", table["verdict"], sure)
        columns.add(group, "gain / lose", table["better"].astype(str) + " / " + table["worse"].astype(str))
    sign = "better" if found.lower else "worse"
    title = f"Difference of test {f.metric_name(found.metric)} from {base} (negative: {sign}), {_TESTED}"
    return columns.table("differences", title)


def table_by_client(found: Findings, point: str, metric: str | None = None, base: str | None = None) -> TextTable:
    """The mean over seeds of each client, or its gain over ``base``; clients are rows where they outnumber the arms."""
    metric = metric or found.metric
    columns, lower = _Columns(found, found.rows), found.folder.lower_is_better(metric)
    means = at(client_means(found.main, metric).droplevel("level"), point)
    decimals = found.decimals if metric == found.metric else f.decimal_places(means.stack())
    for client in [name for name in found.folder.clients if name in means]:
        if base is None:
            columns.scores("", client, means[client], decimals, lower)
        else:
            gain = (means[client] - means[client].get(base, float("nan"))).drop(base, errors="ignore")
            columns.add("", client, _signed(gain, decimals))
    gain_over = f", gain over {base}" if base else ""
    title = f"Test {f.metric_title(metric)} by hospital {found.folder.points[point]}{gain_over}, mean over seeds."
    table = columns.table("clients", title + (" Lower is better." if lower else ""))
    return table.transposed() if len(table.cells.columns) > len(table.cells) else table


def metric_table(found: Findings, metrics: Iterable[str]) -> TextTable:
    """The mean over clients and seeds of every metric, at each evaluation point."""
    columns = _Columns(found, found.rows)
    for metric in metrics:
        lower = found.folder.lower_is_better(metric)
        means = summary(found.main, metric, lower=lower)["mean"].droplevel("level")
        for point in found.folder.points:
            head = f.metric_title(metric) + (" ↓" if lower else "")
            columns.scores(head, SHORT[point], at(means, point), f.decimal_places(means), lower)
    title = "All metrics, mean over the hospitals that have them. ↓: lower is better."
    return columns.table("metrics", title).transposed()


def level_table(found: Findings) -> TextTable:
    """Mean and spread at each level of participation, of the arms that ran at several."""
    levels = found.levels.reset_index("level")
    several = levels.groupby("arm")["level"].nunique() > 1
    columns = _Columns(found, [arm for arm in found.rows if several.get(arm.name, False)])
    for point in found.folder.points:
        for level, scores in at(levels, point).groupby("level"):
            texts = _spread(scores, found.decimals)
            columns.scores(SHORT[point], f.percent(level), scores["mean"], found.decimals, found.lower, texts)
    title = f"Test {f.metric_title(found.metric)} by share of hospitals sampled per round, mean ± standard deviation"
    return columns.table("levels", f"{title}; settings as tuned at {f.percent(found.folder.levels[0])}.")


def cost_table(found: Findings) -> TextTable:
    """Bytes and seconds of each arm."""
    title = "Megabytes down and up are those of all hospitals together."
    return plain_table("cost", title, found.costs.rename(columns=_COSTS))


def tuning_table(found: Findings) -> TextTable:
    """Every configuration that was tried, its validation score, and whether it was chosen."""
    rows = [
        (arm.name, f.settings_text(point["settings"]) or "defaults", f.number(point["validation"], found.decimals),
         "✓" if place == arm.chosen else "", point.get("failure") or "")
        for arm in found.arms
        for place, point in enumerate(arm.points)
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["arm", "settings", "validation", "chosen", "failure"])
    return plain_table("tuning", "Validation score of every configuration tried", table.set_index(["arm", "settings"]))


def holdings_table(found: Findings) -> TextTable:
    """What each client holds."""
    table = pd.DataFrame.from_dict(found.folder.clients, orient="index").rename(columns={"group": "modality"})
    table.loc["all"] = table.sum(numeric_only=True)
    return plain_table("holdings", "Data of each hospital", table.fillna(""))


def plain_table(key: str, title: str, frame: pd.DataFrame) -> TextTable:
    """Return any frame as a table, its numbers with two decimals unless they are whole."""
    cells = frame.map(lambda value: value if isinstance(value, str) else f.number(value, 0 if value % 1 == 0 else 2))
    cells.columns = pd.MultiIndex.from_product([[""], cells.columns])
    if cells.index.nlevels == 1:
        cells.index = pd.MultiIndex.from_product([[""], cells.index])
    return TextTable(key, title, cells, cells.map(lambda _: False))


def all_tables(found: Findings) -> list[TextTable]:
    """Return the tables of the terminal, of plain text and of LaTeX; none while no arm has results."""
    if not found.rows and not found.sweeps:
        return []
    tables = [score_table(found, found.rows)]
    tables += [difference_table(found, base) for base in found.comparisons if base == found.anchor]
    tables += [score_table(found, found.sweeps), *(table_by_client(found, point) for point in found.folder.points)]
    return [table for table in tables if len(table.cells)]


def at(table: _Frame, point: str) -> _Frame:
    """Return the rows of one evaluation point, by arm."""
    return table[table.index.get_level_values("point") == point].droplevel("point")


def _signed(values: pd.Series, decimals: int) -> pd.Series:
    return values.map(lambda value: f.signed(value, decimals))


def _spread(scores: pd.DataFrame, decimals: int) -> pd.Series:
    pairs = zip(scores["mean"], scores["spread"], strict=True)
    return pd.Series([f.with_spread(mean, spread, decimals) for mean, spread in pairs], scores.index, dtype=object)
