"""The gain from a GPU: ``python benchmarks/gpu.py``.

A client's round (update and evaluation on validation data) on the CPU (one thread) and on the GPU, in float32 and bf16,
with and without deterministic algorithms; then several clients one after another and in parallel, each in a thread with
its own stream and network. Without CUDA a small form of the CPU's part is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from step import CLASSES, full_bank, noise_examples

from omnifm.config.experiment import make_experiment
from omnifm.core.records import Broadcast, ClientState
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import ClientData
from omnifm.federation.client import ClientRuntime
from omnifm.runs.arm import make_arm
from omnifm.training import trainer


@dataclass(frozen=True)
class Work:
    """The size of the measurement: images per client and split, rounds, and networks with image sizes."""

    train: int
    validation: int
    repeats: int
    networks: tuple[tuple[str, int], ...]


FULL = Work(512, 128, 5, (("compact", 48), ("resnet18", 64)))
SMALL = Work(64, 32, 2, (("compact", 28),))
CLIENTS = ("a", "b", "c", "d")


def runtime(
    algorithm: str, network: str, size: int, device: str, precision: str, work: Work
) -> tuple[ClientRuntime, Broadcast]:
    """Build clients with noise, and their broadcast; the bank is full."""
    document = {
        "algorithm": algorithm,
        "device": device,
        "training": {"precision": precision},
        "classification": {"network": network},
    }
    splits = [noise_examples(count, size) for count in (work.train, work.validation, work.validation)]
    arm = make_arm(
        make_experiment(document), FederatedDataset(tuple(ClientData(n, n, *splits) for n in CLIENTS), CLASSES)
    )
    broadcast = arm.algorithm.broadcast(arm.start().server)
    if "bank" in broadcast.extra:
        broadcast = replace(broadcast, extra={"bank": full_bank()})
    return arm.runtime, broadcast


def play(runtime: ClientRuntime, broadcast: Broadcast, client: str) -> None:
    """Run a client's round."""
    _, state = runtime.update(broadcast, client, ClientState())
    runtime.evaluate(broadcast, client, state, "validation", "before_local_training")


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call without the first two, including pending work on the GPU."""
    times = []
    for _ in range(2 + repeats):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:])


@contextmanager
def any_bits() -> Iterator[None]:
    """Allow nondeterministic algorithms in this block."""
    before = vars(trainer)["deterministic"]
    setattr(trainer, "deterministic", lambda device: nullcontext())  # noqa: B010
    try:
        yield
    finally:
        setattr(trainer, "deterministic", before)  # noqa: B010


def rounds(work: Work, cuda: bool) -> None:
    """Print the table of one client's round."""
    kinds = [("cpu", "float32", "same"), ("cpu", "bf16", "same")]
    if cuda:
        kinds += [("cuda", p, b) for p in ("float32", "bf16") for b in ("same", "any")]
    columns = ("network", "size", "algorithm", "device", "precision", "bits", "s/round", "images/s", "MB")
    print("".join(f"{name:>10}" for name in columns))
    for network, size in work.networks:
        for algorithm in ("fedavg", "omnifm"):
            for device, precision, bits in kinds:
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                made, broadcast = runtime(algorithm, network, size, device, precision, work)
                with any_bits() if bits == "any" else nullcontext():
                    took = seconds(partial(play, made, broadcast, "a"), work.repeats)
                peak = f"{torch.cuda.max_memory_allocated() / 1e6:.0f}" if device == "cuda" else "-"
                row = (
                    network,
                    size,
                    algorithm,
                    device,
                    precision,
                    bits,
                    f"{took:.3f}",
                    f"{work.train / took:.0f}",
                    peak,
                )
                print("".join(f"{cell!s:>10}" for cell in row), flush=True)


def side_by_side(work: Work, device: str) -> None:
    """Print the time of clients one after another, and in two threads with a stream each."""
    print(f"\n{len(CLIENTS)} clients of OmniFM on {device}, s")
    print("".join(f"{name:>10}" for name in ("network", "size", "in turn", "streams")))
    for network, size in work.networks:
        first, broadcast = runtime("omnifm", network, size, device, "float32", work)
        second, _ = runtime("omnifm", network, size, device, "float32", work)

        def some(made: ClientRuntime, names: tuple[str, ...], broadcast: Broadcast = broadcast) -> None:
            with torch.cuda.stream(torch.cuda.Stream()) if device == "cuda" else nullcontext():
                for name in names:
                    play(made, broadcast, name)

        def in_turn(made: ClientRuntime = first) -> None:
            some(made, CLIENTS)

        def in_streams(runtimes: tuple[ClientRuntime, ClientRuntime] = (first, second)) -> None:
            with ThreadPoolExecutor(2) as threads:
                list(threads.map(some, runtimes, (CLIENTS[::2], CLIENTS[1::2])))

        # Threads share torch's flags: determinism cannot be required in one and not in the other.
        with any_bits():
            row = (network, size, *(f"{seconds(work_, work.repeats):.3f}" for work_ in (in_turn, in_streams)))
        print("".join(f"{cell!s:>10}" for cell in row), flush=True)


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    cuda = torch.cuda.is_available()
    print(torch.cuda.get_device_name() if cuda else "There is no CUDA here: the CPU's part alone, in a small form.")
    work = FULL if cuda else SMALL
    rounds(work, cuda)
    side_by_side(work, "cuda" if cuda else "cpu")


if __name__ == "__main__":
    main()
