"""The mean under secure aggregation: what arrives are sums over clients, already divided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from omnifm.algorithms.aggregation.aggregator import Aggregator, Mean, Weight
from omnifm.algorithms.aggregation.mean import RunningMean
from omnifm.core.records import Upload

SUMMED_CLIENTS = "clients"
"""The note of an upload that is the mean over several clients: how many they are."""


@dataclass(frozen=True)
class SummedMean(Aggregator):
    """Passes on uploads each of which is the weighted mean over several clients, with its number of clients in a note.

    It is no value of ``aggregation.rule``: secure aggregation takes the place of the rule. The clients have applied the
    algorithm's weights, so that they are not applied again; several sums must hold different tensors.
    """

    def aggregate(self, uploads: Iterable[Upload], weight: Weight) -> Mean:
        """Return the tensors of all sums, and the number of clients in them together."""
        change, extra, clients = RunningMean(), RunningMean(), 0
        for upload in uploads:
            change.add(upload.change, 1.0)
            extra.add(upload.extra, 1.0)
            clients += upload.notes[SUMMED_CLIENTS]
        return Mean(change.result(), extra.result(), clients)
