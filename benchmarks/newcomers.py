"""How well is a hospital served that took no part, from its images alone?

    python benchmarks/newcomers.py [--seeds 3] [--rounds 40] [--left-out hospital|modality ...] [--out FILE]

Three modalities of the phantom at three hospitals each. One hospital, or all of one modality, is left out of training;
afterwards it has 80 images without labels. Compared on its test images are OmniFM with the circle that its spectra
find, OmniFM with the best of all circles, and the global model of FedAvg, each with statistics of normalisation
measured on the images. A line of JSON a run is added to FILE; what stands there already is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from resumable import Line, ResumableResults
from torch import Tensor

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.composition import ComposedAlgorithm
from omnifm.algorithms.placement import Placement
from omnifm.config.experiment import make_experiment
from omnifm.core.records import ServerState
from omnifm.data.federated_dataset import FederatedDataset, load_dataset
from omnifm.data.subset import ClientData
from omnifm.engines.in_process import InProcess
from omnifm.export.newcomer import newcomer_model
from omnifm.runs.arm import Arm, make_arm
from omnifm.training.model import FederatedModel

MODALITIES = ("T2", "FLAIR", "CT")
EXPERIMENT: dict[str, Any] = {
    "data": {"size": 48, "sources": [{"kind": "phantom", "modalities": MODALITIES, "hospitals": 3, "patients": 400}]},
    "partition": {"kind": "institution", "validation": 0.15, "test": 0.65},
    "training": {"batch_size": 16, "learning_rate": 0.1, "schedule": "cosine"},
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "omnifm": {"algorithm": "omnifm"},
    "fedavg": {"algorithm": "fedavg", "federation": {"personal": ["statistics"]}},
}


@dataclass(frozen=True)
class WithCircle(ComposedAlgorithm):
    """An algorithm that puts every newcomer into the circle of one member."""

    base: Algorithm
    member: str

    def place(self, state: ServerState, model: FederatedModel, images: Tensor) -> Placement:
        """Return that circle, whatever the images."""
        return Placement((self.member,), message=self.base.message(state, self.member))


def trained(changes: dict[str, Any], dataset: FederatedDataset, seed: int, rounds: int) -> tuple[Arm, ServerState]:
    """Train an algorithm on these hospitals; return its arm, and the server's state after the last round."""
    federation = {"rounds": rounds, "evaluate_every": rounds, "evaluate": ["before_local_training"]}
    federation |= changes.get("federation", {})
    arm = make_arm(make_experiment({**EXPERIMENT, **changes, "federation": federation, "seed": seed}), dataset)
    with InProcess(arm.runtime) as engine:
        return arm, arm.federation(engine).run(arm.start()).server


def accuracy(arm: Arm, server: ServerState, client: ClientData) -> tuple[float, Placement]:
    """Return the test accuracy of the model that a newcomer gets, and in which circle it was put."""
    model, placement = newcomer_model(arm, server, arm.task.prepare_batch(client.train.whole()))
    metric = arm.task.metric(client.train)
    with torch.inference_mode():
        for rows in torch.arange(len(client.test)).split(64):
            batch = arm.task.prepare_batch(client.test.batch(rows))
            metric.update(model(batch).prediction, batch)
    return metric.compute().numbers["accuracy"], placement


def served(left_out: Sequence[str], seed: int, rounds: int) -> Line:
    """Return the figures of each of the hospitals that are left out together."""
    experiment = make_experiment({**EXPERIMENT, "seed": seed})
    dataset = load_dataset(experiment.data, experiment.partition, seed)
    rest = replace(dataset, clients=tuple(client for client in dataset.clients if client.name not in left_out))
    arms = {name: trained(changes, rest, seed, rounds) for name, changes in ALGORITHMS.items()}
    arm, server = arms["omnifm"]
    members = {number: name for name, number in server.notes["circles"]["of"].items()}

    def figures(name: str) -> Line:
        client = dataset.client(name)
        found, placement = accuracy(arm, server, client)
        circles = {
            member: accuracy(replace(arm, algorithm=WithCircle(arm.algorithm, member)), server, client)[0]
            for member in members.values()
        }
        return {
            "hospital": name,
            "omnifm": found,
            "fedavg": accuracy(*arms["fedavg"], client)[0],
            "circles": circles,
            "placed_with": placement.members,
            "alike": placement.alike,
            "share": round(placement.share, 3),
            "distance": round(placement.distance, 4),
            "usual": round(placement.usual, 4),
        }

    return {"hospitals": [figures(name) for name in left_out]}


def summary(runs: Sequence[Line]) -> str:
    """Say how good the models are on average over hospitals, with the standard error of the gain over FedAvg."""
    hospitals = [one for line in runs for one in line["hospitals"]]
    omnifm, fedavg = (mean(one[name] for one in hospitals) for name in ("omnifm", "fedavg"))
    best = mean(max(one["circles"].values(), default=one["omnifm"]) for one in hospitals)
    gains = [one["omnifm"] - one["fedavg"] for one in hospitals]
    error = stdev(gains) / len(gains) ** 0.5
    right = sum({_modality(name) for name in one["placed_with"]} == {_modality(one["hospital"])} for one in hospitals)
    return (
        f"{runs[0]['left_out']} left out, {len(hospitals)} hospitals: omnifm {omnifm:.3f}, best circle {best:.3f}, "
        f"fedavg {fedavg:.3f}, gain {omnifm - fedavg:+.3f} ± {error:.3f} (standard error); {right} were put into a "
        f"circle of their modality, and {sum(one['alike'] for one in hospitals)} told that it is like them"
    )


def _modality(hospital: str) -> str:
    return hospital.rpartition("-")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--left-out", nargs="+", choices=("hospital", "modality"), default=["hospital", "modality"])
    parser.add_argument("--out", type=Path, default=Path("results/newcomers.jsonl"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    results = ResumableResults(options.out, {"rounds": options.rounds})
    for kind in options.left_out:
        for seed, modality in product(range(options.seeds), MODALITIES):
            names = [f"{modality}-{number}" for number in ((1, 2, 3) if kind == "modality" else (3,))]
            about = {"left_out": kind, "seed": seed, "modality": modality}
            results.add(about, partial(served, names, seed, options.rounds))
        print(summary([line for line in results.lines if line["left_out"] == kind and line["seed"] < options.seeds]))


if __name__ == "__main__":
    main()
