"""The table that a run prints: one line a client, one column an arm."""

from __future__ import annotations

import json
from pathlib import Path

from rich.table import Table


def result_table(out: Path) -> Table:
    """Return the test results of all finished arms, ``as received / personalised``, in the task's main metric."""
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*/result.json"), key=_age)]
    metric = results[0]["main_metric"]
    table = Table(title=f"Test {metric}: as received / personalised", title_justify="left")
    table.add_column("client")
    for result in results:
        table.add_column(result["arm"], justify="right")
    sums = [[0.0, 0.0] for _ in results]
    clients = list(results[0]["clients"])
    for client in clients:
        row = []
        for place, result in enumerate(results):
            values = [result["test"][r][client]["numbers"][metric] for r in ("received", "personalised")]
            sums[place] = [a + b for a, b in zip(sums[place], values, strict=True)]
            row.append(_cell(values))
        table.add_row(client, *row)
    table.add_section()
    table.add_row("mean", *(_cell([s / len(clients) for s in both]) for both in sums), style="bold")
    return table


def _cell(values: list[float]) -> str:
    return " / ".join(f"{value:.3f}" for value in values)


def _age(path: Path) -> float:
    return path.stat().st_mtime
