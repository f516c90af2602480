"""How far prototypes tell who was in training: ``python benchmarks/reidentification.py``.

    python benchmarks/reidentification.py [--data phantom] [--root DATA] [--seeds 5] [--draws 20] [--rounds 5]
        [--patients 80] [--min-cluster 3 5 8 10 16] [--size 28] [--cache FOLDER] [--json FILE]

A hospital of so many training patients is drawn from a large set; its prototypes are made as in training, in each round
of the keys of its augmented images, with each minimum of patients behind a prototype. Keys are those of the fixed
tokenizer: nothing has to be trained. The attacker is the server: it has the hospital's prototypes of all rounds,
and images of the candidates. Counted is how often a trained patient is the first of 1,000 candidates, of whom the 999
others are from the same set and not in training; chance is 1 in 1,000. The 999 are not drawn: the probability that all
of a draw score lower follows from how many of all others do. (Drawing with replacement from fewer would count a patient
as found who beats those few.) In a set that is too small, there are as many candidates as it has.

- *nearest*: a candidate scores by the greatest similarity to a prototype, in the mean over rounds;
- *informed*: the attacker has further images of the same set, learns from them how keys vary and how near a candidate
  comes to the prototypes of hospitals that it is not in, and scores by how much nearer it is here.

Intervals are those of the middle 95 % of 2,000 bootstrap samples of hospitals.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from omnifm.config.experiment import make_experiment
from omnifm.data.federated_dataset import FederatedDataset, load_dataset
from omnifm.data.subset import ClientData, Subset
from omnifm.runs.arm import Arm, make_arm
from omnifm.spectral.kmeans import spherical_k_means

SOURCES: dict[str, dict[str, Any]] = {
    "phantom": {"kind": "phantom", "modalities": ["FLAIR"], "hospitals": 1},
    "pneumonia": {"kind": "medmnist", "set": "pneumoniamnist"},
    "breast": {"kind": "medmnist", "set": "breastmnist"},
    "mednist": {
        "kind": "image_folder",
        "folder": "mednist",
        "modality": "CT",
        "classes": ["AbdomenCT", "ChestCT", "HeadCT"],
    },
}
_REFERENCES, _SHARE = 4, 0.25
"""How many hospitals the informed attacker makes of its own images a round, and its share of all images."""


class Attack(NamedTuple):
    """What an attack found: how often a patient was first, in multiples of chance, and the area under the curve."""

    times_chance: float
    auc: float


def found_first(inside: Tensor, outside: Tensor, candidates: int) -> float:
    """Return how often one of those inside scores higher than all of ``candidates - 1`` drawn from those outside.

    In multiples of chance, over all draws without replacement: the hypergeometric probability of none above.
    """
    drawn, all_below = candidates - 1, torch.searchsorted(outside.sort().values, inside).double()
    log = torch.lgamma(all_below + 1) - torch.lgamma((all_below - drawn).clamp(min=0) + 1)
    whole = torch.tensor(len(outside), dtype=torch.float64)
    log = log - torch.lgamma(whole + 1) + torch.lgamma(whole - drawn + 1)
    return float(torch.where(all_below >= drawn, log.exp(), 0.0).mean()) * candidates


def auc(inside: Tensor, outside: Tensor) -> float:
    """Return how often one of those inside scores higher than one outside; equal scores count half."""
    ordered = outside.sort().values
    below = sum(torch.searchsorted(ordered, inside, right=right).double().mean() for right in (False, True))
    return float(below) / 2 / len(outside)


def load(data: str, given: argparse.Namespace, seed: int) -> tuple[Arm, FederatedDataset]:
    """Return the whole set as one hospital, and the arm."""
    source = {**SOURCES[data], **({"patients": given.pool} if data == "phantom" else {})}
    experiment = make_experiment(
        {
            "seed": seed,
            "algorithm": "omnifm",
            "data": {"root": given.root, "size": given.size, "cache": given.cache, "sources": [source]},
            "partition": {"kind": "institution", "validation": 0.05, "test": 0.05},
        }
    )
    dataset = load_dataset(experiment.data, experiment.partition, seed)
    return make_arm(experiment, dataset), dataset


def first_images(client: ClientData) -> Tensor:
    """Return the first image of each patient."""
    whole = Subset.joined([client.train, client.validation, client.test])
    first = {patient: place for place, patient in reversed(list(enumerate(whole.patients)))}
    return whole.column("image")[sorted(first.values())]


class Drawn(NamedTuple):
    """Who is in a hospital, who the attacker has images of besides, and who the other candidates are: rows."""

    inside: Tensor
    known: Tensor
    outside: Tensor

    @classmethod
    def of(cls, count: int, patients: int, chance: torch.Generator) -> Drawn:
        """Draw."""
        order, known = torch.randperm(count, generator=chance), round(_SHARE * (count - patients))
        return cls(order[:patients], order[patients : patients + known], order[patients + known :])


class Round(NamedTuple):
    """Keys: of the hospital's images as it sees them in a round, and of those of hospitals that the attacker makes."""

    own: Tensor
    references: list[Tensor]


def rounds_of(arm: Arm, images: Tensor, drawn: Drawn, chance: torch.Generator, rounds: int) -> Iterator[Round]:
    """Yield the rounds of a hospital."""
    for _ in range(rounds):
        others = [drawn.known[torch.randperm(len(drawn.known), generator=chance)] for _ in range(_REFERENCES)]
        seen = [images[rows[: len(drawn.inside)]] for rows in (drawn.inside, *others)]
        own, *references = [keys_of(arm, arm.task.augment({"image": one}, chance)["image"]) for one in seen]
        yield Round(own, references)


def keys_of(arm: Arm, images: Tensor) -> Tensor:
    """Return what images are retrieved by."""
    adapter = arm.runtime.model.adapter
    assert adapter is not None
    with torch.inference_mode():
        return torch.cat([adapter.keys_of(part.float()) for part in images.split(256)])


def attacks(
    rounds: Sequence[Round], keys: Tensor, white: Tensor, least: int, most: int, chance: torch.Generator
) -> dict[str, Tensor]:
    """Return the scores of every image under each attack, after one round and after all, and how many prototypes."""
    scores = defaultdict[str, list[Tensor]](list)
    for told in rounds:
        prototypes, *others = [spherical_k_means(one, most, chance, least)[0] for one in (told.own, *told.references)]
        scores["nearest"].append((keys @ prototypes.T).amax(dim=1))
        near = [-torch.cdist(keys @ white, one @ white).amin(dim=1) for one in (prototypes, *others)]
        usual = torch.stack(near[1:])
        scores["informed"].append((near[0] - usual.mean(dim=0)) / (usual.std(dim=0) + 1e-3))
        scores["prototypes"].append(torch.tensor(float(len(prototypes))))
    made = {"prototypes": torch.stack(scores.pop("prototypes"))}
    for name, each in scores.items():
        made |= {f"{name}, 1 round": each[0], f"{name}, {len(each)} rounds": torch.stack(each).mean(dim=0)}
    return made


def whitening(keys: Tensor) -> Tensor:
    """Return the matrix under which keys vary alike in all directions around the means of their clusters."""
    means = spherical_k_means(keys, 40, torch.Generator().manual_seed(0), 5)[0]
    rest = keys - means[(keys @ means.T).argmax(dim=1)]
    directions, spread, _ = torch.linalg.svd(rest.T @ rest / len(rest) + 1e-5 * torch.eye(rest.shape[1]))
    return directions / spread.sqrt()


def results(data: str, given: argparse.Namespace) -> Iterator[tuple[str, Attack]]:
    """Yield what is found at each hospital."""
    for seed in range(given.seeds):
        arm, dataset = load(data, given, seed)
        images, most = first_images(dataset.clients[0]), arm.experiment.bank.prototypes
        keys = keys_of(arm, images)
        for draw in range(given.draws):
            chance = torch.Generator().manual_seed(1000 * seed + draw)
            drawn = Drawn.of(len(images), given.patients, chance)
            rounds, white = list(rounds_of(arm, images, drawn, chance, given.rounds)), whitening(keys[drawn.known])
            for least, offered in [(1, given.patients), *((least, most) for least in given.min_cluster)]:
                made = attacks(rounds, keys, white, least, offered, chance)
                yield f"{least}, prototypes a round", Attack(float(made.pop("prototypes").mean()), 0.5)
                for name, score in made.items():
                    inside, outside = score[drawn.inside], score[drawn.outside]
                    candidates = min(given.candidates, len(outside) + 1)
                    yield f"{least}, {name}", Attack(found_first(inside, outside, candidates), auc(inside, outside))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the middle 95 % of the means of bootstrap samples."""
    chance = random.Random(0)
    means = sorted(sum(chance.choices(values, k=len(values))) / len(values) for _ in range(2000))
    return means[50], means[1949]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SOURCES, default="phantom")
    parser.add_argument("--root", default="data", help="folder of the sets that are not the phantom")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=20, help="hospitals drawn a seed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patients", type=int, default=80, help="in training at each hospital")
    parser.add_argument("--pool", type=int, default=1500, help="patients of the phantom to draw from")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--min-cluster", type=int, nargs="*", default=[3, 5, 8, 10, 16])
    parser.add_argument("--size", type=int, default=28, help="of an image, in pixels a side")
    parser.add_argument("--cache", default="", help="folder for prepared images")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = defaultdict[str, list[Attack]](list)
    for name, attack in results(given.data, given):
        found[name].append(attack)
    lines = []
    for name, each in found.items():
        times, area = ([getattr(one, part) for one in each] for part in Attack._fields)
        low, high = interval(times)
        line = {"data": given.data, "what": name, "hospitals": len(each), "mean": sum(times) / len(each)}
        lines.append({**line, "low": low, "high": high, "auc": sum(area) / len(each)})
        print(
            f"{given.data}, {name}: {line['mean']:.2f} ({low:.2f} to {high:.2f}), AUC {lines[-1]['auc']:.3f}",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
