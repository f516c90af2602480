"""A comparison's numbers for other programs: ``table.csv`` (one row an arm and point) and ``results.csv`` (tidy)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from omnifm.results.comparison.numbers import BASELINES, Summary, settings_text
from omnifm.results.comparison.reader import ComparedArm

Value = str | int | float | None

_HEAD = (
    "arm", "algorithm", "kind", "point", "seeds", "mean", "spread", "worst", "worst_spread",
    *(f"gain_over_{base}" for base in BASELINES), "megabytes_per_hospital", "seconds_per_round",
    "compared_with", "difference", "low", "high", "p", "p_holm", "chosen", "note",
)  # fmt: skip


def table_csv(summary: Summary) -> str:
    """Return the main table, sweeps at its end."""
    arms = [*summary.rows, *summary.sweeps]
    return _csv(_HEAD, (_row(summary, arm, point) for arm in arms for point in summary.comparison.points))


def results_csv(summary: Summary) -> str:
    """Return every test score: one row a level, seed, point, hospital and metric."""
    head = ("arm", "algorithm", "kind", "level", "seed", "point", "hospital", "metric", "value")
    return _csv(
        head,
        (
            (arm.name, arm.algorithm, arm.kind, cell.level, cell.seed, point, client, metric, value)
            for arm in summary.comparison.arms
            for cell in arm.cells
            for point in summary.comparison.points
            for metric in cell.record.metrics()
            for client, value in cell.record.scores(point, metric).items()
        ),
    )


def _row(summary: Summary, arm: ComparedArm, point: str) -> Sequence[Value]:
    score = summary.score(arm, point)
    gains = [summary.gains.get(base, {}).get((arm.name, point)) for base in BASELINES]
    pair = summary.against_anchor.get((arm.name, point))
    compared = (pair.difference, pair.low, pair.high, pair.p, pair.holm) if pair else (None,) * 5
    return (
        arm.name, arm.algorithm, arm.kind, point, score.seeds,
        score.mean, score.spread, score.worst, score.worst_spread, *(gain and gain.difference for gain in gains),
        summary.megabytes(arm), summary.seconds(arm),
        summary.anchor.name if pair and summary.anchor else None, *compared,
        settings_text(arm.settings), summary.note(arm),
    )  # fmt: skip


def _csv(head: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """Return text with a line a row; nothing where there is no value, six digits of what was measured."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_text(value) for value in row] for row in rows)
    return buffer.getvalue()


def _text(value: Value) -> Value:
    return f"{value:.6g}" if isinstance(value, float) else value
