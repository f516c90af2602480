"""What the spectral adapter adds to a training step: ``python benchmarks/adapter_cost.py``.

Bare and adapted steps are timed in turn, so that a busy machine slows both alike; the ratio is of the medians. The bank
is full (256 entries), one thread, batch 32.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from omnifm.data.examples import Batch
from omnifm.pipeline import Pipeline
from omnifm.spectral import AdapterSettings, SpectralAdapter
from omnifm.tasks.classification import Classification, ClassificationSettings
from omnifm.tasks.task import DataShape

CASES = (("resnet18", 64), ("resnet18", 28), ("compact", 48), ("compact", 28))
CLASSES = ("a", "b", "c", "d")
BATCH, REPEATS = 32, 15


def stepper(network: str, size: int, adapted: bool) -> Callable[[], None]:
    """Return a function that takes one SGD step."""
    torch.manual_seed(0)
    task = Classification(ClassificationSettings(network=network), DataShape(1, 2, CLASSES))  # type: ignore[arg-type]
    net = task.network()
    adapter = SpectralAdapter(AdapterSettings(), 1, 2, net.width) if adapted else None
    if adapter is not None:
        adapter.use_bank(F.normalize(torch.randn(256, adapter.settings.token_dim), dim=1))
    pipeline = Pipeline(net, adapter).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(pipeline.parameters(), lr=0.01, momentum=0.9, fused=True)
    batch: Batch = {
        "image": torch.rand(BATCH, 1, size, size),
        "target": F.one_hot(torch.arange(BATCH) % len(CLASSES), len(CLASSES)),
        "allowed": torch.ones(BATCH, len(CLASSES), dtype=torch.bool),
        "exclusive": torch.ones(BATCH, dtype=torch.bool),
    }

    def step() -> None:
        output = pipeline(batch)
        loss = task.loss(output.prediction, batch)
        if output.adapter is not None:
            loss = loss + output.adapter.alignment
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def timed(step: Callable[[], None]) -> float:
    """Return the seconds of one call."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"{'network':10} {'size':>5} {'bare ms':>9} {'adapted ms':>11} {'ratio':>6}")
    for network, size in CASES:
        bare, adapted = stepper(network, size, False), stepper(network, size, True)
        for step in (bare, adapted):
            step()
            step()
        pairs = [(timed(bare), timed(adapted)) for _ in range(REPEATS)]
        a, b = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
        print(f"{network:10} {size:5d} {a:9.1f} {b:11.1f} {b / a:6.2f}")


if __name__ == "__main__":
    main()
