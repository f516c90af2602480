"""What malicious hospitals do to a model, under each aggregation rule: ``python benchmarks/attacks.py``.

    python benchmarks/attacks.py [--seeds 3] [--rounds 30] [--patients 120] [--algorithm fedavg] [--out FILE]
        [--attack NAME ...] [--rule NAME ...]

Eight hospitals of the phantom, all FLAIR, of which two are malicious. They work together and know all honest uploads,
which is more than they would. Told is the accuracy of the last round's global model on the test images of the six
others, and its share of what the mean reaches without an attack; "ended" is a run whose losses became infinite. A line
of JSON a run is added to FILE; what stands there already is not run again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Any

import torch
from forged_uploads import Forge, Poisoned, a_little_more, boosted, deviations_off, forged, gaussian, scaling, sign_flip
from resumable import Line, ResumableResults
from torch import Tensor

from omnifm.config.experiment import make_experiment
from omnifm.core.records import Broadcast, Upload
from omnifm.data.federated_dataset import FederatedDataset, load_dataset
from omnifm.data.subset import ClientData, Subset
from omnifm.runs.arm import make_arm
from omnifm.utils.errors import NonFiniteLossError

HOSPITALS, MALICIOUS = 8, 2
RULES: dict[str, dict[str, Any]] = {
    "mean": {"rule": "mean"},
    "bounds": {"rule": "mean"},  # the mean of the uploads within [checks]; the others are without these bounds
    "median": {"rule": "median"},
    "trimmed-mean": {"rule": "trimmed-mean", "trim": MALICIOUS / HOSPITALS},
    "krum": {"rule": "krum", "malicious": MALICIOUS},
    "multi-krum": {"rule": "multi-krum", "malicious": MALICIOUS},
    "geometric-median": {"rule": "geometric-median"},
    "centred-clipping": {"rule": "centred-clipping"},
}


def a_little(honest: Sequence[Tensor], own: Tensor, chance: torch.Generator) -> Tensor:
    """As far from the mean as some of the honest are: Baruch et al., A Little Is Enough, NeurIPS 2019."""
    needed = HOSPITALS // 2 + 1 - MALICIOUS
    z = NormalDist().inv_cdf((HOSPITALS - MALICIOUS - needed) / (HOSPITALS - MALICIOUS))
    return deviations_off(honest, max(z, 0.3))


ATTACKS: dict[str, Forge | None] = {
    "none": None,
    "sign flip": sign_flip,
    "scaling": scaling,
    "gaussian": gaussian,
    "label flip": None,  # is in the data
    "boosted labels": boosted,  # the same, and the upload is longer
    "a little": a_little,
    "a little more": a_little_more,
}
WRONG_LABELS = ("label flip", "boosted labels")


class Attacked(Poisoned):
    """An engine in which some hospitals send what an attack makes of all tensors of their uploads."""

    attack: Forge | None = None

    def lie(self, upload: Upload, honest: Sequence[Upload], received: Broadcast, chance: torch.Generator) -> Upload:
        """Forge the change, and what an algorithm sends beside it."""
        if self.attack is None:
            return upload
        change = forged(self.attack, upload.change, [one.change for one in honest], chance)
        return replace(
            upload, change=change, extra=forged(self.attack, upload.extra, [one.extra for one in honest], chance)
        )


def with_wrong_labels(client: ClientData) -> ClientData:
    """Return a hospital that calls every disease by the next one's name."""
    fields = client.train.whole()
    fields["target"] = fields["target"].roll(1, dims=1)
    return replace(client, train=Subset(fields, client.train.patients))


def measured(rule: str, attack: str, seed: int, given: argparse.Namespace) -> Line:
    """Return the mean accuracy at the honest hospitals, or None where the run ends in losses that are not finite."""
    source = {"kind": "phantom", "modalities": ["FLAIR"], "hospitals": HOSPITALS, "patients": given.patients}
    experiment = make_experiment(
        {
            "seed": seed,
            "algorithm": given.algorithm,
            "data": {"size": given.size, "cache": given.cache, "sources": [source]},
            "partition": {"kind": "institution", "validation": 0.1, "test": 0.4},
            "training": {"batch_size": 16, "learning_rate": 0.1, "schedule": "cosine"},
            "federation": {
                "rounds": given.rounds,
                "evaluate_every": given.rounds,
                "evaluate": ["before_local_training"],
            },
            "checks": {} if rule == "bounds" else {"max_norm": 0.0},
            "aggregation": RULES[rule],
        }
    )
    dataset = load_dataset(experiment.data, experiment.partition, seed)
    malicious = frozenset(client.name for client in dataset.clients[-MALICIOUS:]) if attack != "none" else frozenset()
    if attack in WRONG_LABELS:
        clients = tuple(with_wrong_labels(one) if one.name in malicious else one for one in dataset.clients)
        dataset = FederatedDataset(clients, dataset.label_names, dataset.vocabulary)
    arm = make_arm(experiment, dataset)
    honest = [client.name for client in dataset.clients[:-MALICIOUS]]
    engine = Attacked(arm.runtime)
    engine.attack, engine.malicious, engine.seed = ATTACKS[attack], malicious, seed
    with engine:
        try:
            server = arm.federation(engine).run(arm.start()).server
        except NonFiniteLossError:
            return {"accuracy": None}
        sent = arm.algorithm.broadcast(server)
        messages = {name: arm.algorithm.message(server, name) for name in honest}
        scores = engine.evaluate(sent, honest, "test", "before_local_training", messages)
        return {"accuracy": statistics.mean(found.numbers["accuracy"] for _, found in scores)}


def table(lines: Sequence[Line], attacks: Sequence[str], rules: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table: the mean over seeds, and the share of what the mean reaches without an attack."""
    yield f"| rule | {' | '.join(attacks)} |"
    yield f"| --- |{' ---: |' * len(attacks)}"
    told: dict[tuple[str, str], list[float | None]] = {(line["rule"], line["attack"]): [] for line in lines}
    for line in lines:
        told[line["rule"], line["attack"]].append(line["accuracy"])
    clean = [value for value in told.get(("mean", "none"), []) if value is not None]
    for rule in rules:
        cells = []
        for attack in attacks:
            values = [value for value in told.get((rule, attack), []) if value is not None]
            if len(values) < len(told.get((rule, attack), [])) or not values:
                cells.append("ended" if (rule, attack) in told else "")
                continue
            mean = statistics.mean(values)
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            share = f" ({100 * mean / statistics.mean(clean):.0f} %)" if clean else ""
            cells.append(f"{mean:.2f}{spread}{share}")
        yield f"| `{rule}` | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--patients", type=int, default=120, help="at each hospital")
    parser.add_argument("--size", type=int, default=48, help="of an image, in pixels a side")
    parser.add_argument("--algorithm", default="fedavg")
    parser.add_argument("--cache", default="", help="folder for the phantom's images")
    parser.add_argument("--attack", action="append", choices=ATTACKS)
    parser.add_argument("--rule", action="append", choices=RULES)
    parser.add_argument("--out", type=Path, default=Path("attacks.jsonl"))
    given = parser.parse_args()
    attacks, rules = given.attack or list(ATTACKS), given.rule or list(RULES)
    budget = {key: getattr(given, key) for key in ("algorithm", "rounds", "patients", "size")}
    results = ResumableResults(given.out, budget)
    for seed, rule, attack in product(range(given.seeds), rules, attacks):
        about = {"rule": rule, "attack": attack, "seed": seed}
        results.add(about, partial(measured, rule, attack, seed, given))
    print("\n".join(table([line for line in results.lines if line["seed"] < given.seeds], attacks, rules)))


if __name__ == "__main__":
    main()
