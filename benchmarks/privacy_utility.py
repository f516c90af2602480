"""What differential privacy costs in accuracy: ``python benchmarks/privacy_utility.py``.

    python benchmarks/privacy_utility.py [--task classification|segmentation] [--epsilon E ...] [--seeds 2]
        [--rounds 15] [--patients 1000] [--hospitals 2] [--size 32] [--out FILE] [--cache FOLDER] [--draw PICTURE]

Hospitals learn by FedAvg, without privacy (epsilon 0) and with a budget of epsilon 8, 3 and 1 at delta 1e-5 for each
patient, on the phantom (FLAIR): which of five diseases, or where it is. Told is the score of the last round's model on
the test images, exactly: the noise of the scores that would leave is not in it. A line of JSON a run is added to FILE;
what stands there already is not run again, so that it can be stopped and started at any time. Rates were chosen on
validation images (``--split validation``) of another seed, at epsilon 3.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from resumable import ResumableResults

from omnifm.config.experiment import Experiment, make_experiment
from omnifm.data.federated_dataset import load_dataset
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import make_arm

TASKS: dict[str, dict[str, Any]] = {
    "classification": {"kind": "phantom", "network": {"width": 8, "norm": "group"}, "rate": 0.1, "private_rate": 0.1},
    "segmentation": {
        "kind": "phantom_regions",
        "network": {"width": 8, "depth": 2, "norm": "group"},
        "rate": 0.1,
        "private_rate": 0.3,
    },
}
METRICS = {"classification": "accuracy, five classes", "segmentation": "Dice"}


def make_study(task: str, epsilon: float, seed: int, given: argparse.Namespace) -> Experiment:
    about = TASKS[task]
    source = {"kind": about["kind"], "modalities": ["FLAIR"], "hospitals": given.hospitals, "patients": given.patients}
    privacy = {"epsilon": epsilon, "sampling": given.sampling} if epsilon else {}
    return make_experiment(
        {
            "seed": seed,
            "task": task,
            "algorithm": "fedavg",
            task: about["network"],
            "data": {"size": given.size, "cache": given.cache, "sources": [source]},
            "partition": {"kind": "institution", "validation": 0.05, "test": 0.25},
            "training": {
                "batch_size": 16,
                "learning_rate": given.rate or about["private_rate" if epsilon else "rate"],
                "momentum": 0.9,
                "weight_decay": 0.0,
                "schedule": "cosine",
                "epochs": given.epochs,
            },
            "federation": {
                "rounds": given.rounds,
                "evaluate_every": given.rounds,
                "evaluate": ["before_local_training"],
            },
            "privacy": privacy,
        }
    )


def measured(task: str, epsilon: float, seed: int, given: argparse.Namespace) -> dict[str, float]:
    """Return the mean test score over hospitals, what was spent, and the seconds of the run."""
    experiment, started = make_study(task, epsilon, seed, given), time.perf_counter()
    dataset = load_dataset(experiment.data, experiment.partition, seed)
    arm = make_arm(experiment, dataset)
    with InProcess(arm.runtime) as engine:
        last = arm.federation(engine).run(arm.start())
    exact = InProcess(replace(arm.runtime, privacy=None))
    sent = arm.algorithm.broadcast(last.server)
    scores = dict(exact.evaluate(sent, arm.evaluated, given.split, "before_local_training"))
    return {
        "score": statistics.mean(one.numbers[arm.task.main_metric] for one in scores.values()),
        "spent": arm.runtime.privacy.budget.epsilon if arm.runtime.privacy else 0.0,
        "train": statistics.mean(len(client.train) for client in dataset.clients),
        "seconds": time.perf_counter() - started,
    }


def table(lines: Sequence[dict[str, Any]], epsilons: Sequence[float]) -> Iterator[str]:
    """Yield the lines of a table: the mean over seeds and its range."""
    yield f"| task | {' | '.join('no privacy' if not one else f'epsilon {one:g}' for one in epsilons)} |"
    yield f"| --- |{' ---: |' * len(epsilons)}"
    for task in dict.fromkeys(line["task"] for line in lines):
        cells = []
        for epsilon in epsilons:
            values = [line["score"] for line in lines if (line["task"], line["epsilon"]) == (task, epsilon)]
            spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        yield f"| {task} | {' | '.join(cells)} |"


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the score against epsilon, and without privacy as a dashed line; a line a task, the mean over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for number, task in enumerate(dict.fromkeys(line["task"] for line in lines)):
        scores: dict[float, list[float]] = {}
        for line in lines:
            if line["task"] == task:
                scores.setdefault(line["epsilon"], []).append(line["score"])
        means = {epsilon: statistics.mean(values) for epsilon, values in sorted(scores.items())}
        if 0.0 in means:
            axes.axhline(means.pop(0.0), color=f"C{number}", linestyle="--", linewidth=1)
        axes.plot(list(means), list(means.values()), "o-", color=f"C{number}", label=f"{task} ({METRICS[task]})")
    axes.set(xscale="log", xlabel="epsilon (delta = 1e-5); dashed: no privacy", ylabel="test score", ylim=(0, 1))
    axes.set_xticks([1, 3, 8], ["1", "3", "8"])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument("--epsilon", action="append", type=float, help="0 for no privacy")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--patients", type=int, default=1000, help="at each hospital, of whom 70 %% train")
    parser.add_argument("--hospitals", type=int, default=2)
    parser.add_argument("--size", type=int, default=32, help="of an image, in pixels a side")
    parser.add_argument("--sampling", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=0.0, help="learning rate in place of the chosen one")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="validation to choose a rate")
    parser.add_argument("--cache", default="", help="folder for prepared images")
    parser.add_argument("--draw", type=Path, help="an SVG or PNG of all lines of FILE")
    parser.add_argument("--out", type=Path, default=Path("privacy_utility.jsonl"))
    given = parser.parse_args()
    epsilons = given.epsilon or [0.0, 8.0, 3.0, 1.0]
    keys = ("rounds", "epochs", "patients", "hospitals", "size", "sampling", "rate", "split")
    budget = {key: getattr(given, key) for key in keys}
    results = ResumableResults(given.out, budget)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    for seed, task, epsilon in product(seeds, given.task or TASKS, epsilons):
        about = {"task": task, "epsilon": epsilon, "seed": seed}
        results.add(about, partial(measured, task, epsilon, seed, given))
    print("\n".join(table(results.lines, epsilons)))
    if given.draw:
        draw(results.lines, given.draw)


if __name__ == "__main__":
    main()
