"""``report.html``: all that a run found, in one file that needs neither network nor script.

Made from the run's folder alone, so it can be made again at any time; the same folder gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from omnifm.files import write_atomically
from omnifm.results import rounds, scores
from omnifm.results.run_reader import READING_NAMES, Run, read_run
from omnifm.results.verdict import give_verdict, metric_name
from omnifm.results.view import MISSING, View, arm_styles

_TEMPLATES = Path(__file__).with_name("templates")


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
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    metric, styles = run.main_metric, arm_styles(run.arms)
    return environment.get_template("report.html.j2").render(
        run=run,
        css=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        verdict=give_verdict(run),
        styles=styles,
        readings=READING_NAMES,
        metric=metric_name(metric or "score"),
        results=metric and scores.results(run, metric),
        curves=rounds.curves(run, styles),
        bars=metric and scores.bars(run, metric, styles),
        confusion=scores.confusion(run),
        pictures=scores.pictures(run),
        bank=rounds.bank(run, styles),
        cost=rounds.cost(run, styles),
        clients=_clients(run),
        again=_again(run),
    )


def _clients(run: Run) -> View | None:
    """Who holds what."""
    if not run.clients:
        return None
    splits = ("train", "validation", "test")
    rows = [
        (name, holds.get("group", ""), [holds.get(split, 0) for split in splits]) for name, holds in run.clients.items()
    ]
    return {"rows": rows, "total": [sum(column) for column in zip(*(counts for _, _, counts in rows), strict=True)]}


def _again(run: Run) -> View:
    """What it takes to run it again."""
    return {
        "hashes": [(arm.name, (arm.result or {}).get("weights_sha256", MISSING)) for arm in run.finished],
        "settings": [(arm.name, arm.settings) for arm in run.arms if arm.settings],
    }
