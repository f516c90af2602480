"""All that is written of a comparison, made from its folder alone."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from omnifm.results.comparison.csv import results_csv, table_csv
from omnifm.results.comparison.latex import latex_tables
from omnifm.results.comparison.numbers import Summary
from omnifm.results.comparison.reader import read_comparison
from omnifm.results.comparison.report import render
from omnifm.results.comparison.table import plain_text, terminal_tables
from omnifm.utils.atomic_write import write_atomically


def is_comparison(out: Path) -> bool:
    """Tell whether a folder is that of a comparison."""
    return (out / "comparison.json").exists()


def write_comparison(out: Path) -> list[Table]:
    """Write the tables and ``report.html`` into a comparison's folder, and return those for the terminal.

    Raises:
        ExperimentError: the folder holds no comparison.
    """
    summary = Summary(read_comparison(out))
    files = {
        "table.txt": plain_text(summary),
        "table.csv": table_csv(summary),
        "table.tex": latex_tables(summary),
        "results.csv": results_csv(summary),
        "report.html": render(summary),
    }
    for name, text in files.items():
        write_atomically(out / name, text.encode("utf-8", "replace"))
    return terminal_tables(summary)
