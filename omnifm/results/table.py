"""The table that a run prints: one line a client, one column an arm."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table
from rich.text import Text

from omnifm.results.numerals import metric_title, number
from omnifm.results.run_reader import mean, read_run


def result_table(out: Path) -> Table:
    """Return the test results of all finished arms, ``as received / personalised`` or one of them.

    Arms stand in the order of the experiment file. A client without the metric has a dash and is left out of the mean.

    Raises:
        ExperimentError: the folder holds no run.
    """
    run = read_run(out)
    metric = run.main_metric
    if metric is None:
        return Table("No arm is finished yet")
    title = Text(f"Test {metric_title(metric)}: {' / '.join(run.points.values())}")
    table = Table(title=title, title_justify="left", min_width=len(title))
    table.add_column("client")
    scores, decimals = [], run.places(metric)
    for arm in run.finished:
        table.add_column(Text(arm.name), justify="right")
        scores.append([arm.scores(point, metric) for point in run.points])
    for client in run.clients:
        table.add_row(Text(client), *(_cell([s.get(client) for s in both], decimals) for both in scores))
    table.add_section()
    table.add_row("mean", *(_cell([mean(s.values()) for s in both], decimals) for both in scores), style="bold")
    return table


def _cell(values: list[float | None], decimals: int) -> str:
    return " / ".join(number(value, decimals) for value in values)
