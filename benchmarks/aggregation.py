"""What each rule of ``[aggregation]`` costs the server a round: ``python benchmarks/aggregation.py``.

Uploads of noise, of several tensors, on one thread; each rule in a process of its own, since memory is the highest that
the process has reached beyond the uploads themselves.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from omnifm.algorithms.aggregation.registry import AGGREGATORS, make_aggregator
from omnifm.core.records import Upload

TENSORS = 20
"""Into how many tensors the numbers of an upload are divided."""


def uploads(clients: int, numbers: int) -> Iterator[Upload]:
    """Yield an upload of each client."""
    for client in range(clients):
        chance = torch.Generator().manual_seed(client)
        change = {f"layer{n}": torch.randn(max(1, numbers // TENSORS), generator=chance) for n in range(TENSORS)}
        yield Upload(str(client), 10, 0.0, change)


def cost(settings: dict[str, Any], clients: int, numbers: int, repeats: int) -> dict[str, float]:
    """Return the median seconds, and the memory in MB beyond the uploads, which the mean need not keep."""
    torch.set_num_threads(1)
    rule = make_aggregator(settings)
    kept = list(uploads(clients, numbers))
    before, seconds = _peak(), []
    for _ in range(repeats):
        begun = time.perf_counter()
        rule.aggregate(kept, lambda upload: float(upload.samples))
        seconds.append(time.perf_counter() - begun)
    return {"seconds": statistics.median(seconds), "mb": (_peak() - before) / 1e6}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--numbers", type=int, default=1_000_000, help="in an upload")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    rules: dict[str, dict[str, Any]] = {name: {"rule": name} for name in AGGREGATORS}
    rules["centred-clipping, zero"] = {"rule": "centred-clipping", "centre": "zero", "radius": 1.0}
    found = {}
    print("| rule | ms | MB beyond the uploads |\n| --- | ---: | ---: |")
    for name, settings in rules.items():
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(cost, (settings, given.clients, given.numbers, given.repeats))
        print(f"| `{name}` | {1000 * found[name]['seconds']:.0f} | {found[name]['mb']:.0f} |", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
