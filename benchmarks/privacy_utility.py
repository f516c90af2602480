"""What differential privacy costs in accuracy: ``python benchmarks/privacy_utility.py``.

    python benchmarks/privacy_utility.py [--study NAME ...] [--root DATA] [--epsilon E ...] [--seeds 2]
        [--rounds 15] [--patients 1000] [--hospitals 2] [--size 32] [--out FILE] [--cache FOLDER] [--draw PICTURE]

Hospitals learn by FedAvg, without privacy (epsilon 0) and with a budget of epsilon 8, 3 and 1 at delta 1e-5 for each
patient. ``diseases``: which of five, on the phantom (FLAIR). ``regions``: where it is. ``organs``: real images of six
kinds (MedNIST, in DATA), each of which counts as a patient; it is left out without ``--root``. Told is the score of the
last round's model on the test images, exactly: the noise of the scores that would leave is not in it. A line of JSON a
run is added to FILE; what stands there already is not run again, so that it can be stopped and started at any time.
Rates were chosen on validation images (``--split validation``) of another seed, from 0.1, 0.3, 1 and 3, for each
epsilon, but for all of them together in ``regions``; for another epsilon give one (``--rate``).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from resumable import ResumableResults

from omnifm.config.experiment import Experiment, make_experiment
from omnifm.data.federated_dataset import load_dataset
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import make_arm


class Study(NamedTuple):
    """What is learned, and at which rate for each epsilon."""

    task: str
    score: str
    network: dict[str, Any]
    rates: Mapping[float, float]


_CLASSIFICATION = {"width": 8, "norm": "group"}
STUDIES = {
    "diseases": Study(
        "classification", "accuracy, phantom, 5 classes", _CLASSIFICATION, {0: 0.1, 8: 1.0, 3: 1.0, 1: 0.1}
    ),
    "organs": Study(
        "classification", "accuracy, MedNIST, 6 classes", _CLASSIFICATION, {0: 0.1, 8: 3.0, 3: 3.0, 1: 1.0}
    ),
    "regions": Study(
        "segmentation", "Dice, phantom", {**_CLASSIFICATION, "depth": 2}, {0: 0.1, 8: 0.3, 3: 0.3, 1: 0.3}
    ),
}


def make_study(name: str, epsilon: float, seed: int, given: argparse.Namespace) -> Experiment:
    study = STUDIES[name]
    privacy = {"epsilon": epsilon, "sampling": given.sampling} if epsilon else {}
    return make_experiment(
        {
            "seed": seed,
            "task": study.task,
            "algorithm": "fedavg",
            study.task: study.network,
            "data": {"size": given.size, "cache": given.cache, **data_of(name, given)},
            "partition": {
                **({"kind": "iid", "clients": given.hospitals} if name == "organs" else {"kind": "institution"}),
                "validation": 0.05,
                "test": 0.25,
            },
            "training": {
                "batch_size": 16,
                "learning_rate": given.rate or study.rates[epsilon],
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


def data_of(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return where the images are."""
    if name == "organs":
        return {"root": str(given.root), "sources": [{"kind": "image_folder", "folder": "mednist", "modality": "CT"}]}
    kind = "phantom_regions" if name == "regions" else "phantom"
    return {
        "sources": [{"kind": kind, "modalities": ["FLAIR"], "hospitals": given.hospitals, "patients": given.patients}]
    }


def measured(name: str, epsilon: float, seed: int, given: argparse.Namespace) -> dict[str, float]:
    """Return the mean test score over hospitals, what was spent, and the seconds of the run."""
    experiment, started = make_study(name, epsilon, seed, given), time.perf_counter()
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
    yield f"| study | {' | '.join('no privacy' if not one else f'epsilon {one:g}' for one in epsilons)} |"
    yield f"| --- |{' ---: |' * len(epsilons)}"
    for name in dict.fromkeys(line["study"] for line in lines):
        cells = []
        for epsilon in epsilons:
            values = [line["score"] for line in lines if (line["study"], line["epsilon"]) == (name, epsilon)]
            spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}" if values else "")
        yield f"| {name}: {STUDIES[name].score} | {' | '.join(cells)} |"


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw mean and range of the score over seeds against epsilon, a line a study, dashed without privacy."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "omnifm", "svg.fonttype": "none"})
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(dict.fromkeys(line["study"] for line in lines)):
        scores: dict[float, list[float]] = {}
        for line in lines:
            if line["study"] == name:
                scores.setdefault(line["epsilon"], []).append(line["score"])
        if without := scores.pop(0.0, None):
            axes.axhline(statistics.mean(without), color=f"C{number}", linestyle="--", linewidth=1)
        epsilons, means = sorted(scores), [statistics.mean(scores[one]) for one in sorted(scores)]
        ranges = [
            [mean - min(scores[one]) for one, mean in zip(epsilons, means, strict=True)],
            [max(scores[one]) - mean for one, mean in zip(epsilons, means, strict=True)],
        ]
        label = f"{name} ({STUDIES[name].score})"
        axes.errorbar(epsilons, means, ranges, fmt="o-", capsize=3, color=f"C{number}", label=label)
    axes.set(xscale="log", xlabel="epsilon (delta = 1e-5); dashed: no privacy", ylabel="test score", ylim=(0, 1))
    axes.set_xticks([1, 3, 8], ["1", "3", "8"])
    axes.minorticks_off()
    figure.legend(loc="outside lower center", ncols=1, frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", action="append", choices=STUDIES)
    parser.add_argument("--root", type=Path, help="folder of real images")
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
    if not given.rate and (unknown := {*epsilons} - {*STUDIES["organs"].rates}):
        parser.error(f"no rate was chosen for epsilon {min(unknown):g}: give one, --rate")
    budget = {key: getattr(given, key) for key in keys}
    results = ResumableResults(given.out, budget)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    names = given.study or [name for name in STUDIES if name != "organs" or given.root]
    for seed, name, epsilon in product(seeds, names, epsilons):
        about = {"study": name, "epsilon": epsilon, "seed": seed}
        results.add(about, partial(measured, name, epsilon, seed, given))
    print("\n".join(table(results.lines, epsilons)))
    if given.draw:
        draw(results.lines, given.draw)


if __name__ == "__main__":
    main()
