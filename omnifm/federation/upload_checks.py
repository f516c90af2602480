"""Bounds on what clients send: ``[checks]`` of an experiment.

Shapes and types are checked where an upload is read. Here finite values are bounded, of every algorithm and on every
engine, so that no client dominates or poisons what all of them receive.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median

from omnifm.algorithms.validation import MOST_SAMPLES
from omnifm.config.experiment import ChecksSettings
from omnifm.core.records import ServerState, Upload
from omnifm.core.tensors import total_norm

Norms = tuple[tuple[str, float], ...]
"""The clients whose uploads counted last, and the largest norm that each has had."""

REMEMBERED = 64
"""So many clients are compared with."""
HELD = 16
"""In the first round, at most so many uploads wait until there are others to compare them with."""
_OTHERS = 2

OnReject = Callable[[str, str], None]
"""Is called with the client whose upload does not count, and the reason."""


class UploadChecks:
    """Passes on the uploads of a round that are within the bounds.

    Args:
        settings: the bounds.
        samples: the training samples of all clients, as agreed at the start; empty if they are not known.
        norms: of the uploads before this round.
    """

    def __init__(self, settings: ChecksSettings, samples: Mapping[str, int], norms: Norms) -> None:
        self._settings, self._norms = settings, dict(norms)
        self._most = most_samples(samples.values(), settings.max_share)

    @property
    def norms(self) -> Norms:
        """The norms to continue with."""
        return tuple(self._norms.items())

    def passing(
        self, uploads: Iterable[Upload], sent: Callable[[str], float], clients: Sequence[str], reject: OnReject
    ) -> Iterator[Upload]:
        """Yield the uploads that count, in their order.

        ``sent`` returns the norm of the weights that a client was sent, ``clients`` are those that were asked.
        """
        held: list[tuple[Upload, float]] = []
        few = len(clients) <= _OTHERS
        for upload in uploads:
            norm, largest = upload.norm, self._settings.max_norm * (1 + sent(upload.client))
            if not norm <= largest and self._settings.max_norm:
                reject(upload.client, f"the norm of its change, {norm:.3g}, is above {largest:.3g}")
            elif few or len(held) >= HELD or len(self._others(upload.client, [])) >= _OTHERS:
                yield from self._compared(held, reject)
                held = []
                yield from self._compared([(upload, norm)], reject)
            else:
                held.append((_copied(upload), norm))
        yield from self._compared(held, reject)

    def _compared(self, held: Sequence[tuple[Upload, float]], reject: OnReject) -> Iterator[Upload]:
        together = [(upload.client, norm) for upload, norm in held]
        for upload, norm in held:
            others = self._others(upload.client, together)
            usual = median(others) if len(others) >= _OTHERS else norm
            if self._settings.max_norm and norm > self._settings.max_norm * usual:
                reject(upload.client, f"the norm of its change, {norm:.3g}, is far above those of others, {usual:.3g}")
                continue
            self._remember(upload.client, norm)
            yield upload if upload.samples <= self._most else replace(upload, samples=self._most)

    def _remember(self, client: str, norm: float) -> None:
        # The largest: norms fall with the learning rate, but not that of a client which keeps to its own weights.
        self._norms[client] = max(norm, self._norms.pop(client, 0.0))
        if len(self._norms) > REMEMBERED:
            del self._norms[next(iter(self._norms))]

    def _others(self, client: str, more: Sequence[tuple[str, float]]) -> list[float]:
        """Return the largest norm of every other client."""
        return [norm for name, norm in {**dict(more), **self._norms}.items() if name != client]


def most_samples(samples: Iterable[int], share: float) -> int:
    """Return with how many samples a client may be weighted, so that none has more than this share of all.

    Clients above it are weighted alike. There is no limit if none is above, or they are fewer than three.
    """
    counts = sorted(samples, reverse=True)
    if len(counts) < 3 or counts[0] <= share * sum(counts):
        return MOST_SAMPLES
    for above in range(1, len(counts)):
        left = 1 - above * share
        if left <= 0:
            break
        most = share * sum(counts[above:]) / left
        if counts[above] <= most:
            return max(1, int(most))
    return max(1, counts[-1])


def refusal(after: ServerState) -> str:
    """Return why a round's result must not be kept, or "" if all of it is finite."""
    for what, norm in (("weights", after.norm), ("memory", total_norm(after.memory))):
        if not math.isfinite(norm):
            return f"the server's {what} would no longer be finite"
    return ""


def _copied(upload: Upload) -> Upload:
    """Return an upload whose tensors outlive the memory that it was read from."""
    return replace(
        upload,
        change={name: value.clone() for name, value in upload.change.items()},
        extra={name: value.clone() for name, value in upload.extra.items()},
    )
