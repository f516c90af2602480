"""What server optimisers have in common: they move trainable parameters only; everything else is averaged.

Adam could make a running variance negative. So the memory of an optimiser holds only trainable names, and a tensor
without memory is not optimised.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.core.records import ServerState
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix


def optimised(state: ServerState, mean: Mean, *memories: str) -> tuple[Tensors, list[Tensors]]:
    """Return the mean change and the named memories of the parameters that this round's uploads contain."""
    stored = [strip_prefix(memory, state.memory) for memory in memories]
    names = [name for name in stored[0] if name in mean.change]
    return {n: mean.change[n] for n in names}, [{n: memory[n] for n in names} for memory in stored]


def zeros(shared: Tensors, trainable: Collection[str]) -> Tensors:
    """Return an initial memory of zeros for the trainable names."""
    return {name: torch.zeros_like(shared[name]) for name in trainable}


def stepping(mean: Mean, step: Tensors) -> Mean:
    """Return the mean with the changes of these names replaced by steps."""
    return mean._replace(change={**mean.change, **step})


def with_memory(state: ServerState, **memories: Tensors) -> ServerState:
    """Return the state with these memories updated; names that they lack keep their value."""
    memory = dict(state.memory)
    for prefix, tensors in memories.items():
        memory |= add_prefix(prefix, tensors)
    return replace(state, memory=memory)
