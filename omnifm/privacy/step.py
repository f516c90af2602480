"""The contract of a step on uploads, and how several are composed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.kinds import Kind
from omnifm.core.records import Upload
from omnifm.privacy.secret import ClientSecret


class UploadStep:
    """Changes every upload at its client, and their mean at the server before the algorithm's server step.

    Override what you need. A step serves every algorithm: it sees tensors and their kinds, never how they were made.
    What the client itself keeps (personal tensors, SCAFFOLD's c_i) was computed before it and is not changed.
    """

    def on_client(self, upload: Upload, kinds: Mapping[str, Kind], secret: ClientSecret) -> Upload:
        """Return what leaves the client.

        Args:
            upload: what the algorithm, or the step before, wants to send.
            kinds: the kind of each of its tensors, under ``change/name`` or ``extra/name``.
            secret: known to this client alone, for noise and masks that the server must not be able to compute.
        """
        return upload

    def on_server(self, mean: Mean) -> Mean:
        """Return the mean of a round as the algorithm gets it."""
        return mean


def apply_on_client(
    steps: Sequence[UploadStep], upload: Upload, kinds: Mapping[str, Kind], secret: ClientSecret
) -> Upload:
    """Apply the steps in their order."""
    for step in steps:
        upload = step.on_client(upload, kinds, secret)
    return upload


def apply_on_server(steps: Sequence[UploadStep], mean: Mean) -> Mean:
    """Apply the steps in reverse order: what a client did last, the server sees first."""
    for step in reversed(steps):
        mean = step.on_server(mean)
    return mean
