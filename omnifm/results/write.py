"""The files of a run's or a comparison's folder that people read, made from the folder alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from omnifm.results.findings import Findings, read_findings
from omnifm.results.formatting import settings_text
from omnifm.results.report import report_html
from omnifm.results.result_tables import all_tables
from omnifm.results.table import plain_text
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.signals import cooperative

TERMINAL_CLIENTS = 8
"""Tables of more hospitals are not printed; ``table.txt`` has them."""


@cooperative()  # drawing calls back when weak references die, and Python swallows what a signal raises there
def write_results(folder: Path) -> None:
    """Write report and tables into the folder of a run or a comparison; a signal takes effect when they are written.

    These are ``report.html``, ``results.csv`` (every test score, tidy), ``table.csv`` (the summary), ``table.txt`` and
    ``table.tex``.

    Raises:
        ExperimentError: it holds neither, or one of its files is damaged.
    """
    found = read_findings(folder)
    tables = all_tables(found)
    latex = [table.to_latex() for table in tables if table.key != "clients"]
    circles = list(found.circle_sentences.values())
    test = found.frame[found.frame["split"] == "test"]
    files = {
        "report.html": report_html(found),
        "results.csv": test.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        "table.csv": summary_frame(found).to_csv(float_format="%.6g", lineterminator="\n"),
        "table.txt": plain_text(tables, [*dict.fromkeys(found.notes.values()), *circles]),
        "table.tex": "\n".join(["% \\usepackage{booktabs,graphicx}; \\usepackage[T1]{fontenc}", *latex]),
    }
    for name, text in files.items():
        write_atomically(folder / name, text.encode("utf-8", "replace"))


def terminal_tables(folder: Path) -> list[RenderableType]:
    """Return the tables for a terminal of 100 columns: scores, differences, clients where they are few, and circles.

    Raises:
        ExperimentError: the folder holds neither a run nor a comparison, or one of its files is damaged.
    """
    found = read_findings(folder)
    tables = all_tables(found)
    heads = [
        "mean",
        *(f"over {base}" for base in found.baselines[:1]),
        "MB",
        "s/round",
        "difference [95 % interval]",
        "p",
    ]
    shown = [table.only(heads) for table in tables if table.key != "clients"]
    if len(found.folder.clients) <= TERMINAL_CLIENTS:
        shown += [table for table in tables if table.key == "clients"][:1]
    printed: list[RenderableType] = [table.to_rich() for table in shown] or ["No arm is finished yet."]
    return [*printed, *map(Text, found.circle_sentences.values())]


def summary_frame(found: Findings) -> pd.DataFrame:
    """Return one row for each arm and evaluation point: scores, costs, and the comparison with the anchor."""
    arms = {arm.name: arm for arm in found.arms}
    names = pd.MultiIndex.from_product([arms, found.folder.points], names=["arm", "point"])
    about = [(arms[name].algorithm, arms[name].kind) for name, _ in names]
    table = pd.DataFrame(about, index=names, columns=["algorithm", "kind"]).join(found.scores)
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    for base in found.baselines:
        table[f"gain_over_{base}"] = found.comparisons[base]["difference"] if base in found.comparisons else None
    table = table.join(found.costs[["megabytes_per_client", "seconds_per_round"]], on="arm")
    if found.anchor in found.comparisons:
        compared = found.comparisons[found.anchor].assign(compared_with=found.anchor)
        table = table.join(compared[~compared.index.isin([arm.name for arm in found.sweeps], level="arm")])
    table["chosen"] = [settings_text(arms[name].settings) for name, _ in names]
    table["note"] = [found.note(arms[name]) for name, _ in names]
    return table
