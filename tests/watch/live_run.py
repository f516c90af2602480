"""The folder of a run that is at work: one arm is done, one trains, one waits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from run_folder import write_run

CLIENTS = ("T1", "<CT>", "PET/CT 東京")
ROUNDS = 8
START = 1_700_000_000.0


def write_live_run(out: Path, done: int = 4) -> Path:
    """Write it; a round of the arm at work takes 10 seconds, and its second hospital three times as long as others."""
    write_run(out, {"fedavg": "fedavg", "omnifm": "omnifm"}, CLIENTS, rounds=ROUNDS)
    for name in ("fedavg", "omnifm"):
        settings = f'algorithm = "{name}"\n[federation]\nrounds = {ROUNDS}\n'
        (out / name / "experiment.toml").write_text(settings, encoding="utf-8")
    with (out / "experiment.toml").open("a", encoding="utf-8") as file:
        file.write('[arms.later]\nalgorithm = "omnifm"\n')
    (out / "omnifm/result.json").unlink()
    log = out / "omnifm/metrics.jsonl"
    lines = [with_times(json.loads(line)) for line in log.read_text().splitlines()]
    write_lines(log, [line for line in lines if line["round"] <= done])
    return out


def with_times(line: dict[str, Any]) -> dict[str, Any]:
    line["time"] = START + 10 * line["round"]
    if line["event"] == "round":
        for place, one in enumerate(line["clients"].values()):
            one["seconds"] = 3.0 if place == 1 else 1.0
        line["report"]["circles"] = {"0": list(CLIENTS[:2])} if line["round"] > 1 else {}
        if line["round"] == 2:
            line["rejected"] = {"T1": "its norm\x1b[31m is too large"}
    return line


def write_lines(log: Path, lines: list[dict[str, Any]]) -> None:
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def add_round(out: Path, number: int) -> None:
    """Let the arm at work do one more round."""
    clients = {name: {"loss": 0.5, "samples": 10} for name in CLIENTS}
    round_line = {"event": "round", "round": number, "seconds": 1.5, "clients": clients, "report": {}}
    scores = {name: {"accuracy": 0.75, "loss": 0.1} for name in CLIENTS}
    about = {"split": "validation", "point": "before_local_training", "clients": scores}
    with (out / "omnifm/metrics.jsonl").open("a", encoding="utf-8") as file:
        for line in (with_times(round_line), with_times({"event": "evaluation", "round": number, **about})):
            file.write(json.dumps(line) + "\n")
