"""What can be found out about one patient from what leaves: ``python benchmarks/attacks_privacy.py``.

    python benchmarks/attacks_privacy.py [--patients 1000] [--candidates 1000] [--epsilon 0 8 3] [--rounds 2]
        [--size 32] [--cache FOLDER] [--json FILE]

One hospital of the phantom (FLAIR) trains OmniFM, without privacy and with it. The attacker is the server: it has every
upload, the weights, and images of candidates, of whom one or half were in training. Told is, against chance:

- *re-identification* from prototypes: of one trained patient and other candidates, which is nearest to a prototype? How
  often it is the patient, in multiples of chance, for prototypes of learned keys over at least five patients, for
  single tokens (which no policy permits), and with noise; ``reidentification.py`` measures it more closely;
- *membership*: the area under the ROC curve of the distance to the nearest prototype, and of the loss of the uploaded
  weights, for trained patients against others;
- *inversion of a gradient*: the change of the linear head after one step on one patient, of four and of sixteen gives
  their mean feature; how often the nearest candidate is the patient, or one of them. ``inversion.py`` makes pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from inverting.gradients import change_of, with_patients
from reidentification import auc, found_first
from torch import Tensor

from omnifm.config.experiment import make_experiment
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.data.federated_dataset import FederatedDataset, load_dataset
from omnifm.data.subset import Subset
from omnifm.privacy.vault import ClientVault
from omnifm.runs.arm import Arm, make_arm
from omnifm.training.trainer import Trainer
from omnifm.utils.seeding import generator

Line = dict[str, Any]


def build(given: argparse.Namespace, epsilon: float, **changes: Any) -> tuple[Arm, FederatedDataset]:
    source = {"kind": "phantom", "modalities": ["FLAIR"], "hospitals": 2, "patients": given.patients}
    privacy = {"epsilon": epsilon, "sampling": 0.1, "prototypes_every": 1} if epsilon else {}
    experiment = make_experiment(
        {
            "algorithm": "omnifm",
            "omnifm": {"variant": "paper"},
            "classification": {"width": 8, "norm": "group", "augment": False},
            "data": {"size": given.size, "cache": given.cache, "sources": [source]},
            "partition": {"kind": "institution", "validation": 0.05, "test": 0.25},
            "training": {"batch_size": 16, "learning_rate": 0.05},
            "federation": {"rounds": given.rounds, "evaluate": ["before_local_training"]},
            "privacy": privacy,
            **changes,
        }
    )
    dataset = load_dataset(experiment.data, experiment.partition, experiment.seed)
    return make_arm(experiment, dataset), dataset


def uploads(arm: Arm, client: str) -> Iterator[tuple[Broadcast, Upload]]:
    """Yield what was sent to one hospital and what it has answered, round by round; the other does not take part."""
    server: ServerState = arm.start().server
    state, vault = ClientState(), ClientVault()
    for _ in range(arm.experiment.federation.rounds):
        message = arm.algorithm.message(server, client)
        sent = arm.algorithm.broadcast(server).with_message(message)
        upload, state = arm.runtime.update(sent, client, state, vault)
        yield sent, upload
        server = arm.algorithm.server_update(server, [upload])


def at_the_server(arm: Arm, client: str, sent: Broadcast, upload: Upload) -> Trainer:
    """Return the model that the server can put together from an upload."""
    trainer = arm.runtime._trainer(client, sent.round)
    arm.algorithm.receive(sent, ClientState(), trainer)
    trainer.load({n: v + upload.change[n] for n, v in sent.shared.items() if n in upload.change})
    return trainer


def tokens_of(trainer: Trainer, examples: Subset) -> Tensor:
    adapter = trainer.model.adapter
    assert adapter is not None
    with torch.inference_mode():
        return torch.cat([adapter.keys_of(b["image"]) for b, _ in trainer.predict(examples)])


def losses_of(trainer: Trainer, examples: Subset) -> Tensor:
    with torch.inference_mode():
        batches = trainer.predict(examples)
        return torch.cat([F.cross_entropy(o.prediction, b["target"].argmax(1), reduction="none") for b, o in batches])


def from_uploads(given: argparse.Namespace, epsilon: float, name: str, **changes: Any) -> Line:
    """Attack the prototypes and weights of one hospital; others are drawn from its test patients, who are like them."""
    arm, dataset = build(given, epsilon, **changes)
    client = dataset.clients[0]
    best = {"inside": [], "outside": []}  # type: dict[str, list[Tensor]]
    weights, count = 0.5, 0
    for sent, upload in uploads(arm, client.name):
        trainer = at_the_server(arm, client.name, sent, upload)
        prototypes = upload.extra["bank/prototypes"]
        count += len(prototypes)
        if len(prototypes):
            for key, part in (("inside", client.train), ("outside", client.test)):
                best[key].append((tokens_of(trainer, part) @ prototypes.T).amax(dim=1))
        weights = auc(-losses_of(trainer, client.train), -losses_of(trainer, client.test))
    pairs = list(zip(best["inside"], best["outside"], strict=True))
    return {
        "what": name,
        "epsilon": epsilon,
        "prototypes": count,
        "times_chance": mean([found_first(*pair, min(given.candidates, len(pair[1]) + 1)) for pair in pairs]),
        "membership_prototypes": mean([auc(*pair) for pair in pairs], 0.5),
        "membership_weights": weights,
    }


def mean(values: list[float], otherwise: float = 1.0) -> float:
    return float(np.mean(values)) if values else otherwise


def from_gradients(given: argparse.Namespace, epsilon: float, together: int, tries: int = 60) -> Line:
    """Invert the change of the head after one step: the rows of ``weight / bias`` are the mean feature of a class."""
    arm, dataset = build(given, epsilon, algorithm="fedavg")
    client, other = dataset.clients
    candidates = Subset.joined([client.test, other.train])
    right, chance = 0, generator(0, "inversion")
    for _ in range(tries):
        rows = torch.randperm(len(client.train), generator=chance)[:together]
        runtime = with_patients(arm, client, rows, arm.experiment.training.learning_rate, together)
        change = change_of(arm, runtime)
        bias = change["network.head.bias"]
        feature = change["network.head.weight"][bias.argmax()] / bias.max()
        trainer = runtime._trainer(client.name, 1)
        trainer.load(arm.start().server.shared)
        features = [pooled(trainer, part) for part in (trainer.client.train, candidates)]
        distance = [(part - feature).norm(dim=1) for part in features]
        right += bool(distance[0].min() < distance[1][: given.candidates - together].min())
    return {
        "what": f"gradient of {together}",
        "epsilon": epsilon,
        "found": right / tries,
        "chance": together / given.candidates,
    }


def pooled(trainer: Trainer, examples: Subset) -> Tensor:
    with torch.inference_mode():
        return torch.cat([output.features.mean(dim=1) for _, output in trainer.predict(examples)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000, help="at each of two hospitals, of whom 70 %% train")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epsilon", type=float, nargs="*", default=[0.0, 8.0, 3.0], help="0 for no privacy")
    parser.add_argument("--tries", type=int, default=60)
    parser.add_argument("--cache", default="", help="folder for the phantom's images")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[Line] = []

    def told(line: Line) -> None:
        lines.append(line)
        print(", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()), flush=True)

    single = {"bank": {"prototypes": 10_000, "min_cluster": 1}}
    told(from_uploads(given, 0.0, "single tokens", **single))
    for epsilon in given.epsilon:
        told(from_uploads(given, epsilon, "prototypes of five or more", bank={"min_cluster": 5}))
        for together in (1, 4, 16):
            told(from_gradients(given, epsilon, together, given.tries))
    if given.json:
        given.json.write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
