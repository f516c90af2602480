"""Run folders written by hand, as a run would leave them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

LABELS = ["healthy", "glioma", "infarct"]
EVALUATION_POINTS = ("before_local_training", "after_local_training")


def score(arm: int, client: int, point: str) -> float:
    """A score that differs for every arm, client and evaluation point, and never by rounding alone."""
    return round(0.3 + 0.04 * arm + 0.011 * client + (0.1 if point == "after_local_training" else 0.0), 4)


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (6, 6), shade).save(buffer, "PNG")
    return buffer.getvalue()


def write_run(
    out: Path,
    arms: Mapping[str, str],
    clients: Sequence[str] = ("T1", "CT"),
    rounds: int = 3,
    seed: int = 7,
) -> Path:
    """Write a finished run: ``arms`` are algorithms by name, in the experiment's order."""
    out.mkdir(parents=True)
    tables = "".join(f"[arms.{json.dumps(name)}]\nalgorithm = {json.dumps(kind)}\n" for name, kind in arms.items())
    (out / "experiment.toml").write_text(f'name = "trial <1>"\n{tables}', encoding="utf-8")
    versions = {"started": "2026-03-04T05:06:07+00:00", "python": "3.12.1", "omnifm": "0.1.0", "torch": "2.6.0"}
    (out / "versions.json").write_text(json.dumps(versions))
    for number, (name, kind) in enumerate(arms.items()):
        write_arm(out / name, number, name, kind, clients, rounds, seed)
    return out


def write_arm(folder: Path, number: int, name: str, kind: str, clients: Sequence[str], rounds: int, seed: int) -> None:
    (folder / "pictures").mkdir(parents=True)
    (folder / "experiment.toml").write_text(f'algorithm = "{kind}"\n')
    lines: list[dict[str, Any]] = []
    for r in range(1, rounds + 1):
        report: dict[str, Any] = {}
        if kind == "omnifm":
            taken = {c: {o: 3 if o == c else 1 for o in clients} if r > 1 else {} for c in clients}
            drifts = dict.fromkeys(clients, 0.1 / r) if r > 1 else {}
            report = {"bank_entries": 10 * r, "retrieved": taken, "drift": drifts}
        trained = {c: {"loss": 2 / r + number, "samples": 10} for c in clients}
        lines.append(
            {
                "event": "round",
                "round": r,
                "seconds": 1.5,
                "bytes_down": 2_000_000,
                "bytes_up": 1_000_000,
                "clients": trained,
                "report": report,
            }
        )
        for point in EVALUATION_POINTS:
            evaluated = {c: {"accuracy": 1 - 0.9**r, "loss": 1 / r} for c in clients}
            lines.append(
                {"event": "evaluation", "round": r, "split": "validation", "point": point, "clients": evaluated}
            )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    panels = {}
    for place, client in enumerate(clients):
        file = f"pictures/{place}-0.png"
        (folder / file).write_bytes(png(place))
        panels[client] = [
            {
                "given": [{"title": "", "file": file}],
                "found": None,
                "caption": "healthy, is glioma",
                "right": False,
                "question": "",
            }
        ]
    test = {
        point: {
            client: {
                "numbers": {"accuracy": score(number, place, point), "auc": 0.6, "loss": 1.25},
                "tables": {"confusion": [[5, 2, 0], [1, 4, 0], [0, 0, 0]]},
            }
            for place, client in enumerate(clients)
        }
        for point in EVALUATION_POINTS
    }
    result = {
        "arm": name,
        "algorithm": kind,
        "seed": seed,
        "main_metric": "accuracy",
        "label_names": LABELS,
        "clients": {c: {"group": "MR", "train": 30, "validation": 10, "test": 12} for c in clients},
        "best": {"before_local_training": [2, 0.2], "after_local_training": [3, 0.3]},
        "test": test,
        "panels": panels,
        "weights_sha256": f"{number:064x}",
    }
    (folder / "result.json").write_text(json.dumps(result))


def change_rounds(folder: Path, changes: Mapping[int, Mapping[str, Any]], accepted: Mapping[str, Any]) -> None:
    """Change the reports of an arm's rounds; ``accepted`` says of clients what they took in each round."""
    path = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["event"] == "round":
            line["report"] |= changes.get(line["round"], {})
            for name, shares in accepted.items():
                line["clients"][name]["accepted"] = shares[line["round"] - 1]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def change_result(folder: Path, **changes: Any) -> None:
    """Change keys of an arm's result."""
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
