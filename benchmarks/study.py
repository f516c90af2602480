"""Play an experiment with several seeds and print what each arm reaches, with its spread.

    python benchmarks/study.py examples/study-phantom.toml --seeds 0 1 2 --out runs/study-phantom

Every arm has the same data, start, rounds and local work; rounds are chosen on validation, the figures are of the test
data, read once. Seeds that are finished are not run again, an interrupted one goes on. More ``--set`` are passed on.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from omnifm.results.run_reader import READINGS, Run, read_run

YARDSTICKS = ("local", "alone")
"""Arms in which every client is alone: with the bare backbone, and with OmniFM's own network."""


def play(experiment: Path, out: Path, seed: int, changes: list[str]) -> Run:
    """Run one seed, or what is left of it."""
    command = [sys.executable, "-m", "omnifm", "run"]
    if (out / "experiment.toml").exists():
        command += ["--resume", str(out)]
    else:
        sets = [f"--set={change}" for change in (*changes, f"seed={seed}")]
        command += [str(experiment), "--out", str(out), *sets]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read_run(out)


def spread(values: list[float]) -> str:
    """Return mean and standard deviation over seeds."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def scores(runs: list[Run], arm: str, reading: str) -> list[dict[str, float]]:
    """Return the main metric by client, one mapping a seed."""
    found = []
    for run in runs:
        one = next(a for a in run.finished if a.name == arm)
        assert run.main_metric is not None
        found.append(one.scores(reading, run.main_metric))
    return found


def table(runs: list[Run]) -> str:
    """Return a Markdown table: one line an arm, means over clients, spread over seeds, and each client."""
    clients = list(runs[0].clients)
    arms = [arm.name for arm in runs[0].finished]
    yardsticks = [name for name in YARDSTICKS if name in arms]
    head = ["arm", "reading", "mean", "worst client", *(f"gain over {name}" for name in yardsticks), *clients]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for arm in arms:
        for reading in READINGS:
            mine = scores(runs, arm, reading)
            means = [statistics.mean(s.values()) for s in mine]
            gains = []
            for yardstick in yardsticks:
                theirs = [statistics.mean(s.values()) for s in scores(runs, yardstick, reading)]
                gains.append(f"{statistics.mean(a - b for a, b in zip(means, theirs, strict=True)):+.3f}")
            worst = spread([min(s.values()) for s in mine])
            cells = [f"{statistics.mean(s[c] for s in mine):.3f}" for c in clients]
            lines.append("| " + " | ".join([arm, reading, spread(means), worst, *gains, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    runs = [play(given.experiment, given.out / f"seed-{seed}", seed, given.changes) for seed in given.seeds]
    text = table(runs)
    (given.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
