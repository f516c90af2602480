"""``report.html``: all that a run found, in one file that needs neither network nor script.

Made from the run's folder alone, so it can be made again at any time; the same folder gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from omnifm.results import rounds, scores
from omnifm.results.numerals import MISSING, metric_name
from omnifm.results.page import holdings, render_page
from omnifm.results.pictures import pictures
from omnifm.results.run_reader import POINT_NAMES, Run, read_run
from omnifm.results.verdict import give_verdict
from omnifm.results.view import View, arm_styles
from omnifm.utils.atomic_write import write_atomically


def write_report(out: Path) -> Path:
    """Write ``report.html`` into a run's folder and return its path.

    Raises:
        ExperimentError: the folder holds no run.
    """
    path = out / "report.html"
    write_atomically(path, render(read_run(out)).encode("utf-8", "replace"))
    return path


def render(run: Run) -> str:
    """Return the report as HTML."""
    metric, styles = run.main_metric, arm_styles(run.arms)
    return render_page(
        "report.html.j2",
        run=run,
        point_names=POINT_NAMES,
        verdict=give_verdict(run),
        styles=styles,
        metric=metric_name(metric or "score"),
        results=metric and scores.results(run, metric),
        curves=rounds.curves(run, styles),
        bars=metric and scores.bars(run, metric, styles),
        confusion=scores.confusion(run),
        pictures=pictures(run),
        bank=rounds.bank(run, styles),
        cost=rounds.cost(run, styles),
        clients=holdings(run.clients),
        again=_again(run),
    )


def _again(run: Run) -> View:
    """What it takes to run it again."""
    return {
        "hashes": [(arm.name, (arm.result or {}).get("weights_sha256", MISSING)) for arm in run.finished],
        "settings": [(arm.name, arm.settings) for arm in run.arms if arm.settings],
    }
