"""How far prototypes and counts tell who was in training: ``python benchmarks/reidentification.py``.

    python benchmarks/reidentification.py [--data phantom] [--root DATA] [--seeds 2] [--draws 50] [--patients 80]
        [--min-cluster 5 8 12 16] [--rounds 10] [--candidates 1000] [--size 28] [--cache FOLDER] [--json FILE]

A hospital of so many training patients is drawn from a large set; what it makes of their keys (those of the fixed
tokenizer: nothing has to be trained) is what leaves it in a run: its prototypes, which are the same in every round, and
how often its augmented images retrieve each entry of the bank. The attacker is the server: it has these, and images of
the candidates. Counted is how often a trained patient is the first of 1,000 candidates, of whom the 999 others are from
the same set and not in training; chance is 1 in 1,000. The 999 are not drawn: the probability that all of a draw score
lower follows from how many of all others do. (Drawing with replacement from fewer would count a patient as found who
beats those few.) In a set that is too small, there are as many candidates as it has.

- *nearest*: a candidate scores by the greatest similarity to a prototype;
- *informed*: the attacker has further images of the same set, learns from them how keys vary, and how near a candidate
  comes to the prototypes of hospitals that it is not in, and scores by how much nearer it is here. Distances are
  whitened; where prototypes are rounded, the error of rounding is known and part of the whitening;
- *counts*: the attacker knows from further images what a hospital retrieves from the bank without the candidate, and
  scores by how well the difference agrees with what the candidate retrieves, in the mean over rounds.

Intervals are those of the middle 95 % of 2,000 bootstrap samples of hospitals.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from omnifm.config.experiment import make_experiment
from omnifm.data.federated_dataset import FederatedDataset, load_dataset
from omnifm.data.subset import ClientData, Subset
from omnifm.runs.arm import Arm, make_arm
from omnifm.spectral.adapter import AdapterSettings
from omnifm.spectral.bank import BankSettings, counted_of, retrieve
from omnifm.spectral.kmeans import spherical_k_means
from omnifm.spectral.prototypes import fixed_prototypes

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
_REFERENCES, _SHARE = 12, 0.25
"""How many hospitals the informed attacker makes of its own images, and its share of all images."""
_OTHERS = 2
"""Hospitals of the same modality whose prototypes are in the bank too."""


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
    return whole.column("image")[first_rows(whole.patients)]


def first_rows(patients: Sequence[str]) -> Tensor:
    """Return the row of the first image of each patient; ``patients`` are those of all rows."""
    first = {patient: row for row, patient in reversed(list(enumerate(patients)))}
    return torch.tensor(sorted(first.values()))


def keys_of(arm: Arm, images: Tensor) -> Tensor:
    """Return what images are retrieved by."""
    adapter = arm.runtime.model.adapter
    assert adapter is not None
    with torch.inference_mode():
        return torch.cat([adapter.keys_of(part.float()) for part in images.split(256)])


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

    def references(self, number: int, chance: torch.Generator) -> list[Tensor]:
        """Return the rows of hospitals that the attacker makes of its own images."""
        size = len(self.inside)
        return [self.known[torch.randperm(len(self.known), generator=chance)][:size] for _ in range(number)]


def prototype_attacks(keys: Tensor, drawn: Drawn, bank: BankSettings, chance: torch.Generator) -> dict[str, Tensor]:
    """Return the scores of every image by a hospital's prototypes, under each attack."""
    references = drawn.references(_REFERENCES, chance)
    own, *others = [fixed_prototypes(keys[rows], bank)[0] for rows in (drawn.inside, *references)]
    white = whitening(keys[drawn.known], own, bank)
    near = torch.stack([-torch.cdist(keys @ white, one @ white).amin(dim=1) for one in (own, *others)])
    usual = near[1:]
    return {
        "nearest": (keys @ own.T).amax(dim=1),
        "informed": (near[0] - usual.mean(dim=0)) / (usual.std(dim=0) + 1e-3),
    }


def whitening(known: Tensor, prototypes: Tensor, bank: BankSettings) -> Tensor:
    """Return the matrix under which the distance of a key from its cluster's prototype varies alike in all directions.

    Of rounded prototypes, the mean square of what rounding changes is added: a patient of ten moves their mean by a
    tenth of its distance, so that the error is as large as that of one patient of so many.
    """
    means = spherical_k_means(known, 40, torch.Generator().manual_seed(0), 5)[0]
    rest = known - means[(known @ means.T).argmax(dim=1)]
    exact, _ = fixed_prototypes(known, replace(bank, rounded=False))
    coarse, _ = fixed_prototypes(known, bank)
    error = float((coarse - exact).square().mean()) * bank.min_cluster if bank.rounded else 0.0
    matrix = rest.T @ rest / len(rest) + (1e-5 + error) * torch.eye(rest.shape[1])
    directions, spread, _ = torch.linalg.svd(matrix)
    return directions / spread.sqrt()


def count_attack(
    keys: Tensor, seen: Callable[[Tensor], Tensor], drawn: Drawn, bank: BankSettings, rounds: int, draw: torch.Generator
) -> Tensor:
    """Return the score of every image by the counts of a hospital.

    ``seen`` returns the keys of the images of these rows as training sees them in a round.
    """
    holders = (drawn.inside, *drawn.references(_OTHERS, draw))
    entries = torch.cat([fixed_prototypes(keys[rows], bank)[0] for rows in holders])
    votes = retrieved(keys, entries)
    usual = votes[drawn.known]
    precision = torch.linalg.inv(torch.cov(usual.T) + 1e-3 * torch.eye(len(entries)))
    counts = torch.stack([retrieved(seen(drawn.inside), entries).sum(dim=0) for _ in range(rounds)]).mean(dim=0)
    surplus = counts - len(drawn.inside) * usual.mean(dim=0)
    return (votes - usual.mean(dim=0)) @ precision @ surplus


def retrieved(keys: Tensor, entries: Tensor) -> Tensor:
    """Return for each key which entries are counted: ``(keys, entries)``, ones and zeros."""
    rows = retrieve(keys, entries, counted_of(len(entries), AdapterSettings().neighbours))[1]
    return F.one_hot(rows, len(entries)).sum(dim=1).float()


def results(data: str, given: argparse.Namespace) -> Iterator[tuple[str, Attack]]:
    """Yield what is found at each hospital."""
    kinds = {"single tokens": BankSettings(prototypes=given.patients, min_cluster=1, rounded=False)}
    for least in given.min_cluster:
        kinds[f"{least}, exact"] = BankSettings(min_cluster=least, rounded=False)
        kinds[f"{least}, rounded"] = BankSettings(min_cluster=least)
    for seed in range(given.seeds):
        arm, dataset = load(data, given, seed)
        images = first_images(dataset.clients[0])
        keys = keys_of(arm, images)
        for draw in range(given.draws):
            chance = torch.Generator().manual_seed(1000 * seed + draw)
            drawn = Drawn.of(len(images), given.patients, chance)

            def seen(rows: Tensor, arm: Arm = arm, images: Tensor = images, chance: Any = chance) -> Tensor:
                return keys_of(arm, arm.task.augment({"image": images[rows]}, chance)["image"])

            scores = {
                f"{name}: {attack}": score
                for name, bank in kinds.items()
                for attack, score in prototype_attacks(keys, drawn, bank, chance).items()
            }
            scores["counts"] = count_attack(keys, seen, drawn, BankSettings(), given.rounds, chance)
            for name, score in scores.items():
                inside, outside = score[drawn.inside], score[drawn.outside]
                candidates = min(given.candidates, len(outside) + 1)
                yield name, Attack(found_first(inside, outside, candidates), auc(inside, outside))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the middle 95 % of the means of bootstrap samples."""
    chance = random.Random(0)
    means = sorted(sum(chance.choices(values, k=len(values))) / len(values) for _ in range(2000))
    return means[50], means[1949]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=SOURCES, default="phantom")
    parser.add_argument("--root", default="data", help="folder of the sets that are not the phantom")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=50, help="hospitals drawn a seed")
    parser.add_argument("--patients", type=int, default=80, help="in training at each hospital")
    parser.add_argument("--rounds", type=int, default=10, help="whose counts the attacker has")
    parser.add_argument("--pool", type=int, default=1500, help="patients of the phantom to draw from")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--min-cluster", type=int, nargs="*", default=[5, 8, 12, 16])
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
