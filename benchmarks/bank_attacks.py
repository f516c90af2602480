"""What malicious hospitals do to OmniFM's bank and circles: ``python benchmarks/bank_attacks.py``.

    python benchmarks/bank_attacks.py [--seeds 2] [--rounds 28] [--patients 240] [--study bank|circle ...]
        [--attack NAME ...] [--out FILE]

``bank``: T2 and FLAIR of the phantom at three honest hospitals each, and one or two malicious ones with CT that lie
about their prototypes or about what they retrieve, and may send wrong weights to the circle that they get into; or one
or two of the FLAIR hospitals lie about what they accept. ``circle``: three hospitals with FLAIR, of which one or two
send wrong weights, under the aggregation rules that act within circles and with and without acceptance.

Whatever they send passes the server's checks. Only weights of circles are forged, to see what a circle is worth;
``attacks.py`` forges all. Malicious hospitals know all honest uploads and whose each entry of the bank is, which is
more than they would. Told are the test accuracy of the honest hospitals; of the pairs of them those that are rightly
together or apart after the last round; how often, from the third round on, an honest FLAIR hospital is in a circle with
a malicious one ("joined"); and the share of malicious hospitals in the bank and in what honest FLAIR hospitals
retrieve. A line of JSON a run is added to FILE; what stands there already is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bank_lies import ATTACKED, BANK, CIRCLE, MALICIOUS, STUDIES, BankAttack, BankAttacked, Seen, group_of
from resumable import Line, ResumableResults

from omnifm.config.experiment import make_experiment
from omnifm.data.federated_dataset import load_dataset
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import make_arm
from omnifm.utils.errors import NonFiniteLossError

RULES = ("mean", "median", "geometric-median", "centred-clipping")
"""The rules that act within circles; of three hospitals the trimmed mean is the median."""
ACCEPTANCE: dict[str, dict[str, Any]] = {
    "never": {"acceptance": "off"},
    "every 5": {"acceptance": "on"},
    "every round": {"acceptance": "on", "acceptance_every": 1},
}


def wanted(study: str, attacks: Sequence[str]) -> Iterator[Line]:
    """Yield what to run for one seed."""
    if study == "bank":
        yield {"study": "alone", "attack": "none", "malicious": 0}
    for attack in (name for name in STUDIES[study] if name in attacks):
        for malicious in (1, 2):
            about = {"study": study, "attack": attack, "malicious": malicious}
            if study == "bank":
                rules = RULES[:2] if BANK[attack].weights else RULES[:1]
                yield from ({**about, "rule": rule, "acceptance": "every 5"} for rule in rules)
                continue
            # Of two in three, all rules take the side of the two.
            for rule in RULES if malicious == 1 else RULES[1:2]:
                yield {**about, "rule": rule, "acceptance": "every 5"}
            if attack != "-30 x":
                yield {**about, "rule": "median", "acceptance": "every round"}
                if malicious == 1:
                    yield from ({**about, "rule": "mean", "acceptance": one} for one in ("never", "every round"))


def measured(line: Line, seed: int, given: argparse.Namespace) -> Line:
    """Run one line and return what came of it; without accuracy if it ended in losses that are not finite."""
    alone = line["study"] == "alone"
    attack = BankAttack() if alone else STUDIES[line["study"]][line["attack"]]
    malicious = MALICIOUS[attack.who][: line["malicious"]]
    modalities = ["T2", ATTACKED, *sorted({group_of(name) for name in malicious} - {ATTACKED})]
    if line["study"] == "circle":
        modalities = [ATTACKED]
    source = {
        "kind": "phantom",
        "modalities": modalities,
        "classes": ["healthy", "glioma", "ms"],
        "hospitals": 3,
        "patients": given.patients,
    }
    federation = {"rounds": given.rounds, "evaluate_every": given.rounds, "evaluate": ["before_local_training"]}
    experiment = make_experiment(
        {
            "seed": seed,
            "algorithm": "local" if alone else "omnifm",
            "data": {"size": given.size, "cache": given.cache, "sources": [source]},
            "partition": {"kind": "institution", "validation": 0.2, "test": 0.6},
            "classification": {"width": 8},
            "training": {"batch_size": 8, "learning_rate": 0.1, "schedule": "cosine"},
            "federation": federation | ({} if alone else ACCEPTANCE[line["acceptance"]]),
            "aggregation": {"rule": "mean" if alone else line["rule"]},
        }
    )
    dataset = load_dataset(experiment.data, experiment.partition, seed)
    kept = [one for one in dataset.clients if one.name in malicious or group_of(one.name) in ("T2", ATTACKED)]
    dataset = replace(dataset, clients=tuple(kept))
    honest = [one.name for one in kept if one.name not in malicious]
    arm = make_arm(experiment, dataset)
    seen = Seen(honest, frozenset(malicious))
    engine = InProcess(arm.runtime) if alone else BankAttacked(arm.runtime)
    if isinstance(engine, BankAttacked):
        engine.attack, engine.seen, engine.settings = attack, seen, experiment.bank
        engine.malicious, engine.seed, engine.rounds = seen.malicious, seed, given.rounds
    with engine:
        try:
            server = arm.federation(engine, [] if alone else [seen]).run(arm.start()).server
        except NonFiniteLossError:
            return {"accuracy": None}
        sent = arm.algorithm.broadcast(server)
        messages = {name: arm.algorithm.message(server, name) for name in honest}
        scores = dict(engine.evaluate(sent, honest, "test", "before_local_training", messages))
    accuracy = {name: round(scores[name].numbers["accuracy"], 4) for name in honest}
    if alone:
        return {"accuracy": accuracy}
    theirs, all_of_them = (sum(counts) for counts in zip(*seen.retrieved, strict=True))
    return {
        "accuracy": accuracy,
        "right": seen.right,
        "joined": seen.joined,
        "bank": seen.bank_share,
        "retrieved": theirs / max(all_of_them, 1),
    }


def accuracy(lines: Sequence[Line], of: str) -> str:
    """Return the mean accuracy at the honest hospitals of one modality, and its standard deviation over seeds."""
    values = []
    for line in lines:
        if line["accuracy"] is None:
            return "ended"
        values.append(fmean(value for name, value in line["accuracy"].items() if group_of(name) == of))
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def bank_table(lines: Sequence[Line]) -> Iterator[str]:
    """Yield a row for each attack on the bank."""
    yield f"| attack | malicious | rule | {ATTACKED} | T2 | right pairs | joined | of the bank | of retrievals |"
    yield "| --- | ---: | --- |" + " ---: |" * 6
    alone = [accuracy(select(lines, study="alone"), of) for of in (ATTACKED, "T2")]
    yield f"| every hospital alone | | | {' | '.join(alone)} | | | | |"
    for name, malicious, rule in product(BANK, (1, 2), RULES):
        found = select(lines, study="bank", attack=name, malicious=malicious, rule=rule)
        if not found:
            continue
        cells = [name, str(malicious), f"`{rule}`", *(accuracy(found, of) for of in (ATTACKED, "T2"))]
        if all(line["accuracy"] for line in found):
            shares = (
                [line["right"][-1] for line in found],
                [fmean(line["joined"][2:] or [0.0]) for line in found],
                [line["bank"] for line in found],
                [line["retrieved"] for line in found],
            )
            cells += [f"{100 * fmean(values):.0f} %" for values in shares]
        yield f"| {' | '.join(cells)} |"


def circle_table(lines: Sequence[Line]) -> Iterator[str]:
    """Yield a row for each rule and acceptance: the accuracy under each attack."""
    yield f"| malicious of three | rule | acceptance | {' | '.join(CIRCLE)} |"
    yield "| --- | --- | --- |" + " ---: |" * len(CIRCLE)
    for malicious, rule, acceptance in product((1, 2), RULES, ACCEPTANCE):
        setting = {"malicious": malicious, "rule": rule, "acceptance": acceptance}
        found = [select(lines, study="circle", attack=name, **setting) for name in CIRCLE]
        if any(found):
            cells = [accuracy(one, ATTACKED) if one else "" for one in found]
            yield f"| {malicious} | `{rule}` | {acceptance} | {' | '.join(cells)} |"


def select(lines: Sequence[Line], **about: Any) -> list[Line]:
    return [line for line in lines if about.items() <= line.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=28)
    parser.add_argument("--patients", type=int, default=240, help="at each hospital")
    parser.add_argument("--size", type=int, default=32, help="of an image, in pixels a side")
    parser.add_argument("--cache", default="", help="folder for the phantom's images")
    parser.add_argument("--study", action="append", choices=STUDIES)
    parser.add_argument("--attack", action="append", choices=[*BANK, *CIRCLE])
    parser.add_argument("--out", type=Path, default=Path("bank_attacks.jsonl"))
    given = parser.parse_args()
    budget = {key: getattr(given, key) for key in ("rounds", "patients", "size")}
    results = ResumableResults(given.out, budget)
    for seed, study in product(range(given.seeds), given.study or STUDIES):
        for one in wanted(study, given.attack or [*BANK, *CIRCLE]):
            results.add({**one, "seed": seed}, partial(measured, one, seed, given))
    lines = [line for line in results.lines if line["seed"] < given.seeds]
    for study, table in (("bank", bank_table), ("circle", circle_table)):
        if not given.study or study in given.study:
            print("\n".join(table(lines)), end="\n\n")


if __name__ == "__main__":
    main()
