"""How well is a hospital served that took no part, from its images alone?

    python benchmarks/newcomers.py [--seeds 3] [--rounds 40] [--left-out hospital|modality ...] [--out FILE]

Three modalities of the phantom at three hospitals each. One hospital, or all of one modality, is left out of training;
afterwards it has 80 images without labels. Compared on its test images are OmniFM with the circle that its spectra
find, OmniFM with the best of all circles, and the global model of FedAvg, each with statistics of normalisation
measured on the images. A line of JSON a hospital is added to FILE; what stands there already is not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
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


def served(left_out: list[str], seed: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yield the figures of each of the hospitals that are left out together."""
    experiment = make_experiment({**EXPERIMENT, "seed": seed})
    dataset = load_dataset(experiment.data, experiment.partition, seed)
    rest = replace(dataset, clients=tuple(client for client in dataset.clients if client.name not in left_out))
    arms = {name: trained(changes, rest, seed, rounds) for name, changes in ALGORITHMS.items()}
    arm, server = arms["omnifm"]
    members = {number: name for name, number in server.notes["circles"]["of"].items()}
    for name in left_out:
        client = dataset.client(name)
        found, placement = accuracy(arm, server, client)
        circles = {
            member: accuracy(replace(arm, algorithm=WithCircle(arm.algorithm, member)), server, client)[0]
            for member in members.values()
        }
        yield {
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--left-out", nargs="+", choices=("hospital", "modality"), default=["hospital", "modality"])
    parser.add_argument("--out", type=Path, default=Path("results/newcomers.jsonl"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text(encoding="utf-8").splitlines() if options.out.exists() else []
    done = {(line["left_out"], line["hospital"], line["seed"]) for line in map(json.loads, lines)}
    for seed in range(options.seeds):
        for kind in options.left_out:
            for modality in MODALITIES:
                names = [f"{modality}-{number}" for number in ((1, 2, 3) if kind == "modality" else (3,))]
                if all((kind, name, seed) in done for name in names):
                    continue
                for figures in served(names, seed, options.rounds):
                    line = json.dumps({"left_out": kind, "seed": seed, **figures})
                    print(line, flush=True)
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(line + "\n")


if __name__ == "__main__":
    main()
