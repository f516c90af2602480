"""What server optimisers share: they move trainable parameters only, all else is averaged.

A running variance, moved by Adam, would turn negative; so the memory of an optimiser has the trainable names alone, and
what has no memory is not optimised.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.core.records import ServerState
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix


def optimised(state: ServerState, mean: Mean, *memories: str) -> tuple[Tensors, list[Tensors]]:
    """Return the mean change and the named memories, both of the parameters that this round has brought."""
    found = [strip_prefix(memory, state.memory) for memory in memories]
    names = [name for name in found[0] if name in mean.change]
    return {n: mean.change[n] for n in names}, [{n: memory[n] for n in names} for memory in found]


def zeros(shared: Tensors, trainable: Collection[str]) -> Tensors:
    """Return a first memory of zeros for the trainable names."""
    return {name: torch.zeros_like(shared[name]) for name in trainable}


def stepping(mean: Mean, step: Tensors) -> Mean:
    """Return the mean with these steps in place of the changes of their names."""
    return mean._replace(change={**mean.change, **step})


def with_memory(state: ServerState, **memories: Tensors) -> ServerState:
    """Return the state with these memories renewed; names that they lack keep theirs."""
    memory = dict(state.memory)
    for prefix, tensors in memories.items():
        memory |= add_prefix(prefix, tensors)
    return replace(state, memory=memory)
