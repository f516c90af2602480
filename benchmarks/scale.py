"""The cost of many clients: a round's time and memory, the bytes it sends, and the bank by capacity.

Run: ``python benchmarks/scale.py [--json FILE]``. It prints three tables; the first time it makes the phantom (50,000
images of 28 x 28 pixels, a few minutes), later read from a cache.

**Rounds** of phantom hospitals with ten images each: six for training, so that everything else shows. Once with
1 % of the clients a round, as in large federations; once with a fixed number, so that lines differ only by the clients
that do not take part. Every line is a separate process that runs an arm like ``omnifm run``, with log and checkpoints
but without evaluation, whose cost grows with the clients in every federation and depends on
``federation.evaluate_every``.

- ``load``: seconds to read the phantom's cache and split it.
- ``round``: seconds from the start of a round to that of the next; the median, as below.
- ``train``: the part in which the workers train (``Trainer.fit``): their total time divided by their number.
- ``rest ms``: everything else, per client: loading weights, messages, aggregation, log and checkpoint. Time in which a
  worker waits at a round's end, because no client is left for it, is not counted.
- ``cpu ms``: the processor time of all processes outside training, per client: more stable than wall-clock time,
  especially if other programs run. ``server``: that of the main process alone.
- ``peak MB``: the highest memory of all processes together, shared pages counted once (PSS).
- ``circles``: how many there are. The bank knows a client once it has trained, so that ``omnifm`` has few among many
  clients in so few rounds; ``omnifm-groups`` has all clients in circles from the start.

**Bytes** that each algorithm sends to and receives from a client in a round, on the default network.

**Bank**, on one thread, full, of 5,000 clients in 8 groups: milliseconds of processor time to retrieve for a batch of
32, to merge the prototypes of 50 clients (16 each), to prune the result, and for the server's round with it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "scaling"
sys.path.insert(0, str(SCRIPTS))

from hospitals import add_arguments  # noqa: E402
from process_tree import PeakMemory  # noqa: E402

TIMES = ("load", "round", "train", "rest ms", "cpu ms", "server")
ROUNDS = ("clients", "sampled", *TIMES, "peak MB", "down MB", "up MB", "circles")


def run(script: str, *arguments: object) -> tuple[dict[str, Any], int]:
    """Run a script in a process of its own; return what it prints, and its peak memory in bytes."""
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), *map(str, arguments)]
    path = os.pathsep.join([str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path}
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child,
        PeakMemory(child.pid) as memory,
    ):
        printed, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {child.returncode}.")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found, memory.peak


def measure_rounds(given: argparse.Namespace, hospitals: Sequence[str]) -> list[dict[str, Any]]:
    """Measure every number of clients, with a share of them per round and with a fixed number."""
    print(f"{'algorithm':13} " + " ".join(f"{name:>9}" for name in ROUNDS))
    lines = []
    for algorithm in given.algorithms:
        for fixed in (False, True):
            for clients in given.clients:
                sampled = min(given.sampled, clients) if fixed else max(1, round(given.participation * clients))
                options = (*hospitals, "--rounds", given.rounds, "--workers", given.workers)
                found, peak = run("rounds", clients, sampled, algorithm, *options)
                line = {"algorithm": algorithm, "clients": clients, **found, "peak": peak}
                lines.append(line)
                seconds = " ".join(f"{found[name]:9.3f}" for name in ("load", "round", "train"))
                others = " ".join(f"{found[name]:9.2f}" for name in ("rest", "cpu", "server"))
                megabytes = " ".join(f"{size / 1e6:9.2f}" for size in (peak, found["down"], found["up"]))
                row = f"{clients:9d} {sampled:9d} {seconds} {others} {megabytes} {found['circles']:9.0f}"
                print(f"{algorithm:13} {row}", flush=True)
    return lines


def measure_traffic(hospitals: Sequence[str]) -> dict[str, Any]:
    """Measure every algorithm's messages."""
    found, _ = run("traffic", *hospitals)
    print(f"\n{'algorithm':20} {'down kB':>9} {'up kB':>9}")
    for name, sizes in found.items():
        print(f"{name:20} {sizes['down'] / 1e3:9.1f} {sizes['up'] / 1e3:9.1f}")
    return found


def measure_bank(capacities: Sequence[int]) -> dict[str, Any]:
    """Measure the bank at every capacity."""
    print(f"\n{'capacity':>9} {'retrieve':>9} {'merge':>9} {'prune':>9} {'round':>9} {'peak MB':>9} {'down MB':>9}")
    lines = {}
    for capacity in capacities:
        found, peak = run("bank", capacity)
        lines[str(capacity)] = {**found, "peak": peak}
        times = " ".join(f"{found[name]:9.2f}" for name in ("retrieve", "merge", "prune", "round"))
        print(f"{capacity:9d} {times} {peak / 1e6:9.0f} {found['down'] / 1e6:9.2f}", flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 50, 500, 5000], help="multiples of five")
    parser.add_argument("--participation", type=float, default=0.01, help="share of the clients a round")
    parser.add_argument("--sampled", type=int, default=50, help="the fixed number of clients a round")
    arms = "as in a comparison, and the arms of an ablation"
    usual = ["fedavg", "omnifm", "omnifm-groups", "no-circles"]
    parser.add_argument("--algorithms", nargs="+", default=usual, help=arms)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--capacities", type=int, nargs="*", default=[256, 4096, 65536, 2**20])
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    add_arguments(parser)
    given = parser.parse_args()
    if wrong := [clients for clients in given.clients if clients < 5 or clients % 5]:
        parser.error(f"--clients {wrong[0]}: give multiples of five, one for each modality")
    hospitals = [f"--{name}={getattr(given, name)}" for name in ("cache", "images", "size", "width")]
    for clients in given.clients:  # now, so that no figure below holds it
        run("hospitals", clients, *hospitals)
    figures = {
        "rounds": measure_rounds(given, hospitals),
        "traffic": measure_traffic(hospitals),
        "bank": measure_bank(given.capacities),
    }
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
