"""Where numbers are computed, how precisely, and that a GPU computes the same bits each time.

On a GPU nothing in a training step waits for the device: a batch is copied from pinned memory while the steps before it
are still at work, and losses are looked at once an epoch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

Precision = Literal["float32", "bf16"]

# cuBLAS reads this at its first product, and without it chooses among algorithms that differ in their last bits.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def to_device(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return a batch on the device, to a GPU without waiting for the copy."""
    if device.type == "cpu":
        return batch
    pinned = device.type == "cuda"
    return {
        name: (value.pin_memory() if pinned else value).to(device, non_blocking=pinned) for name, value in batch.items()
    }


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Let a forward pass compute in bfloat16 where torch holds that to be safe, or as it is (``float32``)."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def as_float32(values: Any) -> Any:
    """Return a tensor, or each in a dictionary of them, in float32 where it is of another floating-point type."""
    if isinstance(values, dict):
        return {name: as_float32(value) for name, value in values.items()}
    return values.float() if values.is_floating_point() else values


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Let a GPU use only algorithms that give the same bits each time; a CPU does so anyway, on one thread.

    cuDNN then does not try out which algorithm is fastest, since the winner may differ from run to run.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


@contextmanager
def fork_rng(device: torch.device, seed: int) -> Iterator[None]:
    """Let what is drawn in the block, here and on the device, follow from the seed; after it all is as before.

    ``torch.manual_seed`` asks every kind of device and notes down who called, which takes milliseconds.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    before = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)
