"""The client's side of circles: weights that are averaged within groups of similar clients."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from omnifm.core.records import OWN_WEIGHTS, Broadcast, ClientState, Upload
from omnifm.core.tensors import Tensors, difference, strip_prefix
from omnifm.training.model import is_part
from omnifm.training.trainer import Trainer

CIRCLE = "circle"
"""Name, in a message, of the number of the receiver's circle."""
REFERENCE = "reference"
"""Prefix, in a message, of weights that the client does not load: it reports its difference from them."""


def circle_in(broadcast: Broadcast) -> int | None:
    """Return the number of the circle of a broadcast's receiver; None if it is alone."""
    number = broadcast.extra.get(CIRCLE)
    return None if number is None else int(number)


def in_parts(names: Iterable[str], parts: Collection[str]) -> list[str]:
    """Return the tensor names that contain one of ``parts``: one or more consecutive components of the dotted name.

    ``everything`` matches every name.
    """
    return [name for name in names if any(part == "everything" or is_part(name, part) for part in parts)]


def expected_change(broadcast: Broadcast) -> Tensors:
    """Return the circle's tensors in a broadcast, whose change the receiver reports."""
    return {**strip_prefix(OWN_WEIGHTS, broadcast.extra), **strip_prefix(REFERENCE, broadcast.extra)}


def with_change(upload: Upload, broadcast: Broadcast, after: ClientState) -> Upload:
    """Add to an upload the difference of the client's weights from those of its circle, if it is in one."""
    reference = expected_change(broadcast)
    change = difference({name: after.personal[name] for name in reference}, reference)
    return replace(upload, change={**upload.change, **change})


@contextmanager
def circle_kept_apart(
    broadcast: Broadcast, client: ClientState, trainer: Trainer, parts: Collection[str]
) -> Iterator[ClientState]:
    """Treat what circles average as personal in this block, so that no rule of the base algorithm acts on it.

    Yields the client's state, in which the circle's weights, if it received any, replace its own.
    """
    before = trainer.personal
    trainer.personal = before | set(in_parts(trainer.views(shared=True), parts))
    try:
        yield replace(client, personal={**client.personal, **strip_prefix(OWN_WEIGHTS, broadcast.extra)})
    finally:
        trainer.personal = before
