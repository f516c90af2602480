"""Disturb many small runs at random points; each must end with the bits of the undisturbed one, and leave nothing.

    python benchmarks/faults.py --runs 50 --seed 0

It needs Linux and the ``dev`` extra; a full disk is tried only if the user can mount one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from faulty_run import FAULTS, can_mount, make_reference, try_fault


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="how many faults, all kinds in turn")
    parser.add_argument("--seed", type=int, default=0, help="determines the points at which they happen")
    options = parser.parse_args()
    kinds = [kind for kind in FAULTS if kind != "disk full" or can_mount()]
    ended: dict[str, Counter[int]] = {kind: Counter() for kind in kinds}
    failed: dict[str, list[str]] = {kind: [] for kind in kinds}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = make_reference(folder)
        for number, kind in enumerate(itertools.islice(itertools.cycle(kinds), options.runs)):
            try:
                trial = try_fault(kind, reference, folder / f"trial{number}", f"{options.seed} {number}")
                ended[kind][trial.statuses[0]] += 1
            except AssertionError as error:
                failed[kind].append(f"run {number}: {error}")
                print(f"{kind}, {failed[kind][-1]}", file=sys.stderr)
    print("| fault | runs | continued by itself | had to be resumed | same bits, nothing left |\n|---|---|---|---|---|")
    for kind in kinds:
        good, bad = ended[kind].total(), len(failed[kind])
        print(f"| {kind} | {good + bad} | {ended[kind][0]} | {good - ended[kind][0]} | {good} |")
    lost = sum(map(len, failed.values()))
    print(f"\n{options.runs} faults in {time.monotonic() - started:.0f} s: {options.runs - lost} good, {lost} not.")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
