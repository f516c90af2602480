"""What trackers write of a round and of an evaluation: numbers by name."""

from __future__ import annotations

from collections.abc import Iterator

from omnifm.callbacks.events import EvaluationEvent, RoundEvent


def mean_loss(event: RoundEvent) -> float | None:
    """Return the mean of the clients' losses; None where none tells one, as in a private run."""
    losses = [one["loss"] for one in event.clients.values() if "loss" in one]
    return sum(losses) / len(losses) if losses else None


def round_scalars(event: RoundEvent) -> Iterator[tuple[str, float]]:
    """Yield ``train/...``: the clients' mean loss, weighted by their samples, the bytes and seconds of the round.

    In a private run there is no loss, but the largest epsilon that a client has spent.
    """
    losses = [(one["loss"], one["samples"]) for one in event.clients.values() if "loss" in one]
    if samples := sum(count for _, count in losses):
        yield "train/loss", sum(loss * count for loss, count in losses) / samples
    if spent := [one["epsilon"] for one in event.clients.values() if "epsilon" in one]:
        yield "train/epsilon", max(spent)
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
