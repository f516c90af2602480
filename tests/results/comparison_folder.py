"""Folders of comparisons written by hand, as the command would leave them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

EVALUATION_POINTS = ("before_local_training", "after_local_training")

Score = Callable[[str, int, float, str, int], float | None]
"""The test score of an arm: by arm, seed, level, point and the hospital's place."""


def arm(
    name: str,
    kind: str = "reference",
    algorithm: str | None = None,
    points: Sequence[Mapping[str, Any]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """An arm of comparison.json, without its cells."""
    tried = [{"settings": {"training.learning_rate": 0.02}, "validation": 0.6, "failure": None}]
    return {
        "name": name,
        "algorithm": algorithm or name,
        "kind": kind,
        "about": "",
        "chosen": 0,
        "failure": None,
        "points": tried if points is None else list(points),
        **changes,
    }


def failed_arm(name: str, failure: str) -> dict[str, Any]:
    point = {"settings": {"training.learning_rate": 0.5}, "validation": None, "failure": failure}
    return arm(name, chosen=None, failure=failure, points=[point])


def write_comparison_folder(
    out: Path,
    arms: Sequence[dict[str, Any]],
    score: Score,
    clients: Sequence[str] = ("T1", "CT"),
    seeds: Sequence[int] = (0, 1, 2),
    levels: Sequence[float] = (1.0,),
    rounds: int = 3,
    failed_cells: Mapping[tuple[str, int, float], str] | None = None,
) -> Path:
    """Write a comparison; a cell of ``failed_cells`` (arm, seed, level) has a message and no result."""
    out.mkdir(parents=True)
    (out / "experiment.toml").write_text('name = "small"\ntask = "classification"\n', encoding="utf-8")
    versions = {"started": "2026-03-04T05:06:07+00:00", "python": "3.12.1", "omnifm": "0.1.0", "torch": "2.6.0"}
    (out / "versions.json").write_text(json.dumps(versions))
    failed = dict(failed_cells or {})
    for number, entry in enumerate(arms):
        entry["cells"] = []
        for level in levels if entry["chosen"] is not None else ():
            for seed in seeds:
                name = f"cells/arm{number}/p{entry['chosen']}-s{seed}-r{100 * level:.0f}"
                failure = failed.get((entry["name"], seed, level))
                entry["cells"].append({"seed": seed, "level": level, "folder": name, "failure": failure})
                if failure is None:
                    _write_cell(out / name, number, entry, score, clients, seed, level, rounds)
    document = {
        "name": "compare & <small>_1%",
        "main_metric": "accuracy",
        "seeds": list(seeds),
        "levels": list(levels),
        "tuning": {"seeds": [0], "points": 2},
        "arms": list(arms),
    }
    (out / "comparison.json").write_text(json.dumps(document))
    return out


def _write_cell(
    folder: Path,
    number: int,
    entry: Mapping[str, Any],
    score: Score,
    clients: Sequence[str],
    seed: int,
    level: float,
    rounds: int,
) -> None:
    """Traffic grows with the arm: 1 MB a hospital and round for the first, 2 for the next."""
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text(f'algorithm = "{entry["algorithm"]}"\n')
    half = 0 if entry["algorithm"] == "local" else 500_000 * (number + 1) * len(clients)
    test = {
        r: {c: {"numbers": {"accuracy": score(entry["name"], seed, level, r, i)}} for i, c in enumerate(clients)}
        for r in EVALUATION_POINTS
    }
    lines: list[dict[str, Any]] = []
    for n in range(1, rounds + 1):
        losses = {c: {"loss": 1.0 / n, "samples": 10} for c in clients}
        line = {"event": "round", "round": n, "seconds": number + 0.5, "bytes_down": half, "bytes_up": half}
        lines.append({**line, "clients": losses, "report": {}})
        for r in EVALUATION_POINTS:
            reached = {c: entry["numbers"]["accuracy"] for c, entry in test[r].items()}
            evaluated = {c: {"accuracy": None if v is None else v * (1 - 0.5**n)} for c, v in reached.items()}
            lines.append({"event": "evaluation", "round": n, "split": "validation", "point": r, "clients": evaluated})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = [v["numbers"]["accuracy"] or 0.0 for v in test["before_local_training"].values()]
    best = [rounds, sum(values) / len(values)]
    result = {
        "arm": entry["name"],
        "algorithm": entry["algorithm"],
        "seed": seed,
        "main_metric": "accuracy",
        "label_names": [],
        "clients": {c: {"group": "MR", "train": 30, "validation": 10, "test": 12} for c in clients},
        "best": {"before_local_training": best, "after_local_training": best},
        "test": test,
        "panels": {},
        "weights_sha256": f"{number:062x}{seed:02x}",
    }
    (folder / "result.json").write_text(json.dumps(result))
