"""OmniFM beside other simulators of federated learning: ``python benchmarks/peers.py``.

Two workloads (``peers/workloads.py``) are run on this machine's cores by

- ``ours``: OmniFM's engine, FedAvg, one worker a core;
- ``floor``: the same SGD steps and evaluation in bare workers without a federation;
- ``plain`` and ``plain-1``: a sequential PyTorch loop, with one thread per core and with one thread;
- ``flower``: Flower's simulation on Ray, one core a client;
- ``pfl``: Apple's pfl in one process, and ``pfl-2`` in one process a core under torchrun.

All have the same images, network, first weights, optimiser settings, local work and evaluation after every round; each
is written as in its own documentation. Flower and pfl are installed from PyPI, when first needed, into virtual
environments under ``--cache``, with the release of PyTorch that runs this script (pip's own settings hold: on a machine
without a GPU, ``PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu`` spares the CUDA libraries).

Contenders take turns, ``--repeats`` times. A round is timed inside the contender from the end of the previous one,
evaluation included; the first is a warm-up and left out. Start-up is the time from the start of the process to the end
of the first round, less the median round. CPU seconds and memory (proportional
set sizes) are read from outside over the whole tree of processes, twice a second; memory is the peak of the run.

Run nothing else meanwhile: the plain loop and pfl, whose threads wait for each other at every step, suffer most from
other load. Three repeats take about twenty minutes on two cores; ``--rounds 3 --repeats 1`` is the short form, too
few rounds for the small network's accuracies to agree. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from peers.contest import PREFIX
from peers.environments import EnvironmentFailedError, python_with
from peers.watch import Watch
from peers.workloads import WORKLOADS, Workload, make_images
from platformdirs import user_cache_path

CORES = len(os.sched_getaffinity(0))
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={CORES}")
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
AGREE = 0.05
"""How far a final accuracy can be from the median of all."""


@dataclass(frozen=True)
class Contender:
    """A module of ``peers`` to run, the packages that it needs in an environment of its own, and how it is started."""

    name: str
    module: str
    packages: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


CONTENDERS = (
    Contender("ours", "ours"),
    Contender("floor", "floor"),
    Contender("plain", "plain", arguments=(str(CORES),)),
    Contender("plain-1", "plain", arguments=("1",)),
    Contender("flower", "flower", ("flwr[simulation]==1.41.0",)),
    Contender("pfl", "apple_pfl", ("pfl[pytorch]==0.6.0",)),
    Contender(f"pfl-{CORES}", "apple_pfl", ("pfl[pytorch]==0.6.0",), TORCHRUN),
)


@dataclass(frozen=True)
class Run:
    """The cost of one run: seconds of each round but the first, and of the start; CPU seconds per round; memory."""

    rounds: list[float]
    start: float
    cpu: float
    peak_bytes: int
    accuracy: float | None


def main() -> None:
    options = _options()
    names = options.only or [contender.name for contender in CONTENDERS]
    pythons: dict[str, Path] = {}
    for contender in CONTENDERS:
        if contender.name in names:
            pythons[contender.name] = _python(contender, options.cache)
    results = {}
    for workload in (WORKLOADS[name] for name in options.workload or WORKLOADS):
        images = options.cache / "images" / workload.name
        make_images(workload, images)
        runs: dict[str, list[Run]] = {name: [] for name in pythons}
        for repeat in range(1, options.repeats + 1):
            for contender in CONTENDERS:
                if contender.name in pythons:
                    print(f"{workload.name}, repeat {repeat}: {contender.name}", file=sys.stderr, flush=True)
                    runs[contender.name].append(
                        _run(contender, pythons[contender.name], workload, images, options.rounds or workload.rounds)
                    )
        _print(workload, runs)
        results[workload.title] = {name: [asdict(run) for run in repeats] for name, repeats in runs.items()}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="OmniFM beside other simulators of federated learning.")
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS), help="only this one (repeatable)")
    parser.add_argument("--only", action="append", choices=[c.name for c in CONTENDERS], help="only this contender")
    parser.add_argument("--rounds", type=int, help="rounds a run, at least 2; the workload's own by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=user_cache_path("omnifm") / "peers", help="environments, images")
    parser.add_argument("--json", type=Path, help="write the cost of every run to this file")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 2:
        parser.error("--rounds must be at least 2: the first is a warm-up.")
    if options.repeats < 1:
        parser.error("--repeats must be at least 1.")
    return options


def _python(contender: Contender, cache: Path) -> Path:
    if not contender.packages:
        return Path(sys.executable)
    try:
        return python_with(contender.packages, cache / "environments" / contender.module)
    except EnvironmentFailedError as error:
        sys.exit(f"{contender.name}: {error}\nLeave it out: name the others with --only.")


def _run(contender: Contender, python: Path, workload: Workload, images: Path, rounds: int) -> Run:
    """Run a contender once."""
    here = Path(__file__).resolve().parent
    paths = [str(here), str(here.parent)] if not contender.packages else [str(here)]
    launched = time.monotonic()
    arguments = [f"peers.{contender.module}", workload.name, images, str(rounds), *contender.arguments]
    process = subprocess.Popen(
        [python, *contender.launcher, "-m", *arguments],
        env={**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with Watch(process.pid) as watch:
        output, _ = process.communicate()
    lines = [line for line in output.splitlines() if line.startswith(PREFIX)]
    if process.returncode != 0 or not lines:
        sys.exit(f"{contender.name} failed on {workload.name}. Its last output:\n{output[-4000:]}")
    notes = json.loads(lines[-1].removeprefix(PREFIX))
    ends = notes["ends"]
    seconds = [after - before for before, after in pairwise(ends)]
    return Run(
        seconds,
        ends[0] - launched - statistics.median(seconds),
        watch.cpu_seconds(ends[0], ends[-1]) / len(seconds),
        watch.peak_bytes,
        notes["accuracies"][-1],
    )


def _print(workload: Workload, runs: dict[str, list[Run]]) -> None:
    """Print a workload's table: medians over the repeats of each run's median round."""
    print(f"\n{workload.title}; evaluation on {workload.held_out} images each round; {CORES} cores\n")
    print(f"{'':8} {'s/round':>8} {'(min - max)':>15} {'to ours':>8} {'CPU s':>7} {'MB':>6} {'start s':>8} accuracy")
    ours = statistics.median(statistics.median(run.rounds) for run in runs["ours"]) if "ours" in runs else float("nan")
    accuracies = {}
    for name, repeats in runs.items():
        rounds = [second for run in repeats for second in run.rounds]
        middle = statistics.median(statistics.median(run.rounds) for run in repeats)
        cpu, start = (statistics.median(column) for column in zip(*((r.cpu, r.start) for r in repeats), strict=True))
        peak = statistics.median(run.peak_bytes for run in repeats) / 1e6
        known = [run.accuracy for run in repeats if run.accuracy is not None]
        accuracy = "-"
        if known:
            accuracies[name] = statistics.median(known)
            accuracy = f"{accuracies[name]:.3f}"
        span = f"({min(rounds):.2f} - {max(rounds):.2f})"
        print(
            f"{name:8} {middle:8.2f} {span:>15} {middle / ours:7.2f}x {cpu:7.2f} {peak:6.0f} {start:8.1f} {accuracy:>8}"
        )
    if not accuracies:
        return
    centre = statistics.median(accuracies.values())
    apart = [name for name, accuracy in accuracies.items() if abs(accuracy - centre) > AGREE]
    print(f"\nFinal accuracies {'agree' if not apart else 'do not agree: ' + ', '.join(apart)} (within {AGREE}).")


if __name__ == "__main__":
    main()
