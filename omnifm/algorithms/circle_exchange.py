"""A client's side of weights that are averaged within circles of clients that are alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from omnifm.core.records import OWN_WEIGHTS, Broadcast, ClientState, Upload
from omnifm.core.tensors import Tensors, difference, strip_prefix
from omnifm.training.trainer import Trainer

CIRCLE = "circle"
"""Name, in a message, of the number of the circle in which the receiver is."""
REFERENCE = "reference"
"""Prefix, in a message, of weights that a client does not load: it reports how far its own are from them."""


def circle_in(broadcast: Broadcast) -> int | None:
    """Return the number of the circle in which the receiver of a broadcast is; None, if it is alone."""
    number = broadcast.extra.get(CIRCLE)
    return None if number is None else int(number)


def in_parts(names: Iterable[str], parts: Collection[str]) -> list[str]:
    """Return the tensor names of which a part, one or several components of the dotted name, is among ``parts``.

    ``everything`` is a part of every name.
    """
    return [name for name in names if any(part == "everything" or f".{part}." in f".{name}." for part in parts)]


def expected_change(broadcast: Broadcast) -> Tensors:
    """Return tensors like those of the circle that the receiver of a broadcast may report a change of."""
    return {**strip_prefix(OWN_WEIGHTS, broadcast.extra), **strip_prefix(REFERENCE, broadcast.extra)}


def with_change(upload: Upload, broadcast: Broadcast, after: ClientState) -> Upload:
    """Add to an upload how far the client's weights are from those of its circle, if it is in one."""
    reference = expected_change(broadcast)
    change = difference({name: after.personal[name] for name in reference}, reference)
    return replace(upload, change={**upload.change, **change})


@contextmanager
def circle_kept_apart(
    broadcast: Broadcast, client: ClientState, trainer: Trainer, parts: Collection[str]
) -> Iterator[ClientState]:
    """Let what is averaged in circles be personal while a base algorithm works: no rule of its own acts on it.

    Yields the client's state with the weights of its circle, where it was sent any, over its own.
    """
    before = trainer.personal
    trainer.personal = before | set(in_parts(trainer.views(shared=True), parts))
    try:
        yield replace(client, personal={**client.personal, **strip_prefix(OWN_WEIGHTS, broadcast.extra)})
    finally:
        trainer.personal = before
