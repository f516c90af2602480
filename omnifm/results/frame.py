"""Everything that a run or a comparison measured, as one tidy table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from omnifm.results.result_folder import CellRecord, ResultFolder, finite, read_folder

COLUMNS = {
    "arm": "row of the tables: an arm of the experiment, an algorithm, or a value of a sweep",
    "algorithm": "algorithm of the arm",
    "kind": "omnifm, reference, own, ablation, control, sweep, or baseline (clients alone, in declared groups, pooled)",
    "level": "participation: share of clients sampled in each round",
    "seed": "seed of the experiment",
    "round": "round after which it was measured; of test scores, the round that validation chose",
    "point": "evaluation point: before_local_training or after_local_training; empty in training",
    "split": "train, validation or test",
    "client": "client; empty for what is measured over all clients of a round",
    "metric": "metric of the task; of training also loss, samples, seconds, bytes_down, bytes_up, and reported numbers",
    "value": "finite number in the metric's unit; a client without one has no row",
}
"""The columns of the frame and what they hold."""

Measurement = tuple[int, str, str, str, str, float]
"""Round, point, split, client, metric and value."""


def read_results(folder: Path) -> pd.DataFrame:
    """Return everything measured in the folder of a run or of a comparison, one number a row (see ``COLUMNS``).

    Arms that are not finished have rows of training and validation only.

    Raises:
        ExperimentError: it holds neither, or one of its files is damaged.
    """
    return to_frame(read_folder(folder))


def to_frame(found: ResultFolder) -> pd.DataFrame:
    """Return the frame of a folder that has been read; rows come in the order of arms, cells and rounds."""
    rows = [
        (arm.name, arm.algorithm, arm.kind, cell.level, cell.seed, *measured)
        for arm in found.arms
        for cell in arm.cells
        for measured in (*_training(cell), *_validation(cell), *_test(cell))
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"level": float, "seed": int, "round": int, "value": float})


def _training(cell: CellRecord) -> Iterator[Measurement]:
    for line in cell.rounds:
        for client, numbers in line.get("clients", {}).items():
            yield from _numbers(line["round"], "", "train", client, numbers)
        totals = {name: line.get(name) for name in ("seconds", "bytes_down", "bytes_up")}
        yield from _numbers(line["round"], "", "train", "", totals)
        for name, reported in (line.get("report") or {}).items():
            by_client = reported if isinstance(reported, Mapping) else {"": reported}
            for client, value in by_client.items():
                yield from _numbers(line["round"], "", "train", client, {name: value})


def _validation(cell: CellRecord) -> Iterator[Measurement]:
    lines = {
        (line["round"], line["point"]): line["clients"]
        for line in cell.log
        if line.get("event") == "evaluation" and line.get("split") == "validation"
    }
    for (number, point), clients in sorted(lines.items(), key=lambda item: item[0][0]):
        for client, numbers in clients.items():
            yield from _numbers(number, point, "validation", client, numbers)


def _test(cell: CellRecord) -> Iterator[Measurement]:
    best = cell.result.get("best", {})
    for point, clients in cell.result.get("test", {}).items():
        chosen = int(best[point][0]) if best.get(point) else 0
        for client, entry in clients.items():
            yield from _numbers(chosen, point, "test", client, entry.get("numbers", {}))


def _numbers(number: int, point: str, split: str, client: str, values: Mapping[str, Any]) -> Iterator[Measurement]:
    for metric, value in values.items():
        if (known := finite(value)) is not None:
            yield number, point, split, client, metric, known
