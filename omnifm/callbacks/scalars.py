"""What trackers write of a round and of an evaluation: numbers by name."""

from __future__ import annotations

from collections.abc import Iterator

from omnifm.callbacks.events import EvaluationEvent, RoundEvent


def round_scalars(event: RoundEvent) -> Iterator[tuple[str, float]]:
    """Yield ``train/...``: the clients' mean loss, weighted by their samples, the bytes and seconds of the round."""
    samples = sum(one["samples"] for one in event.clients.values())
    if samples:
        yield "train/loss", sum(one["loss"] * one["samples"] for one in event.clients.values()) / samples
    yield "train/clients", sum(one.get("clients", 1) for one in event.clients.values())  # a sum is of several
    yield "train/bytes_down", event.bytes_down
    yield "train/bytes_up", event.bytes_up
    yield "train/seconds", event.seconds


def evaluation_scalars(event: EvaluationEvent, clients: bool) -> Iterator[tuple[str, float]]:
    """Yield ``SPLIT/READING/METRIC``, the mean over clients; with ``clients``, also each one's, its name at the end."""
    place = f"{event.split}/{event.point}"
    for metric in dict.fromkeys(name for scores in event.scores.values() for name in scores.numbers):
        yield f"{place}/{metric}", event.mean(metric)
        for name, scores in event.scores.items() if clients else ():
            if metric in scores.numbers:
                yield f"{place}/{metric}/{name}", scores.numbers[metric]
