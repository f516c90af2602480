"""A hospital that answers anything: ``python benchmarks/fuzz_replies.py [--count N] [--seed S] [ALGORITHM ...]``.

Each reply of one of three hospitals is changed at random, in its bytes, its JSON or its tensors, and goes through the
deployed server: messages, checks, aggregation, evaluation. Half are replies of the first round, half of the second.
A run must not end, what the server keeps must be finite, and each reply that does not count must be named with a
reason. The table counts the replies: refused, or taken with a state as without the change, near that or far from it.
The exit status is 1 if a reply did what none may.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from fuzzing.mutations import mutate
from fuzzing.scripted import LIAR, Trial, trials

from omnifm.algorithms.registry import REFERENCES
from omnifm.core.records import ServerState
from omnifm.core.serialization import TensorBuffer
from omnifm.federation.upload_checks import refusal

COLUMNS = ("refused", "unchanged", "near", "far", "unnamed", "not finite", "ended")
FORBIDDEN = ("unnamed", "not finite", "ended")
NEAR = 3.0
"""A state is near the honest one if it is at most so many times as far from the start as that is."""


def outcome(trial: Trial, honest: ServerState, draw: Random) -> str:
    """Run a trial with a changed reply and say what came of it."""
    try:
        after, log = trial.run(partial(mutate, draw=draw), trained=draw.random() < 0.7)
        TensorBuffer(*after.server.pack()).to_bytes()  # it can be stored
    except Exception:
        logging.getLogger("omnifm").exception("A reply ended the run.")
        return "ended"
    if refusal(after.server):
        return "not finite"
    refused = [(client, text) for event, client, text in log.events if event in ("rejected", "failed")]
    if any(client != LIAR or not text for client, text in refused):
        return "unnamed"
    if refused:
        return "refused"
    start = trial.start.server
    moved, usual = _distance(after.server, start), _distance(honest, start)
    if _distance(after.server, honest) == 0:
        return "unchanged"
    return "near" if moved <= NEAR * usual else "far"


def fuzz(algorithm: str, base: str, count: int, seed: int) -> Counter[str]:
    """Count the outcomes of so many changed replies."""
    draw = Random(f"{algorithm} {base} {seed}")
    found: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        for trial in trials(algorithm, base, Path(folder)):
            honest = trial.run(lambda reply: reply)[0].server
            for _ in range(count // 2):
                found[outcome(trial, honest, draw)] += 1
    return found


def _distance(a: ServerState, b: ServerState) -> float:
    squares = [
        (a.shared[name].double() - value.double()).square().sum()
        for name, value in b.shared.items()
        if value.is_floating_point()
    ]
    return float(sum(squares)) ** 0.5


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("algorithms", nargs="*", default=[*REFERENCES, "omnifm", "omnifm/scaffold"])
    parser.add_argument("--count", type=int, default=1500, help="replies for each algorithm")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("omnifm").setLevel(logging.ERROR)
    print(f"{'algorithm':<16}" + "".join(f"{name:>12}" for name in COLUMNS))
    total: Counter[str] = Counter()
    for name in options.algorithms:
        algorithm, _, base = name.partition("/")
        found = fuzz(algorithm, base or "fedavg", options.count, options.seed)
        total += found
        print(f"{name:<16}" + "".join(f"{found[column]:>12}" for column in COLUMNS), flush=True)
    print(f"{'all':<16}" + "".join(f"{total[column]:>12}" for column in COLUMNS))
    return int(any(total[column] for column in FORBIDDEN))


if __name__ == "__main__":
    sys.exit(main())
