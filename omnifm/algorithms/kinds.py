"""The kinds of tensors in an upload, which steps on uploads and a client's policy must distinguish."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from torch import Tensor

from omnifm.core.records import Upload


class Kind(StrEnum):
    """The kinds of tensors in an upload. ``samples`` and ``loss`` of an upload are plain numbers beside them."""

    PARAMETER = "parameter"
    """The change of a weight that gradients act on."""
    BUFFER = "buffer"
    """The change of a floating-point state of the network, such as a running mean."""
    COUNTER = "counter"
    """An integer state of the network: its value, not a change."""
    PROTOTYPE = "prototype"
    """Spectral prototypes, each the mean over images of several of the client's patients."""
    COUNT = "count"
    """Integers that belong to prototypes: the patients behind each, and retrievals."""
    AUXILIARY = "auxiliary"
    """Anything else that an algorithm sends, such as SCAFFOLD's control variates."""


def default_kinds(upload: Upload, trainable: Collection[str]) -> dict[str, Kind]:
    """Return the kind of each tensor under ``change/name`` or ``extra/name``.

    ``trainable`` are the names of the parameters that gradients act on.
    """

    def kind(name: str, value: Tensor) -> Kind:
        if name in trainable:
            return Kind.PARAMETER
        return Kind.BUFFER if value.is_floating_point() else Kind.COUNTER

    change = {f"change/{name}": kind(name, value) for name, value in upload.change.items()}
    return change | {f"extra/{name}": Kind.AUXILIARY for name in upload.extra}
