"""How many numbers a network holds, counted while it is built, so that one that is too large is not finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from omnifm.utils.errors import OmniFMError


class NetworkSizeError(OmniFMError):
    """A network is larger than was allowed."""


@dataclass
class NetworkSize:
    """The ``numbers`` in the parameters and buffers of what was built."""

    numbers: int = 0


@contextmanager
def size_limited(most: int = 0) -> Iterator[NetworkSize]:
    """Count the parameters and buffers of the modules that are made in this block, at most so many (0: any number).

    On the device "meta" they take no memory. Elsewhere each is counted when it has its place in memory but, where
    modules draw their weights as torch's do, before anything is written there.

    Raises:
        NetworkSizeError: there are more.
    """
    size = NetworkSize()

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        size.numbers += 0 if value is None else value.numel()
        if 0 < most < size.numbers:
            raise NetworkSizeError(f"The network holds more than the {most} numbers that it may.")

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield size
    finally:
        for hook in hooks:
            hook.remove()
