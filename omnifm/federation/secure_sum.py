"""Secure aggregation, apart from its cryptography: what is summed, as which integers, and over how many clients.

Uploads become vectors of integers modulo 2^64. Their sum is exact, so that it depends on no order, and it is the same
whether the integers were masked (``engines/flower/secure_aggregation``) or, in process, where there is nobody to hide
anything from, were not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from omnifm.algorithms.aggregation.aggregator import Aggregator
from omnifm.algorithms.aggregation.mean import WeightedMean
from omnifm.algorithms.aggregation.summed_mean import SUMMED_CLIENTS
from omnifm.algorithms.algorithm import Algorithm
from omnifm.config.experiment import ChecksSettings
from omnifm.core.records import Broadcast, Upload
from omnifm.core.tensors import Tensors, add_prefix, strip_prefix
from omnifm.federation.upload_checks import most_samples
from omnifm.privacy.settings import PrivacySettings
from omnifm.utils.errors import OmniFMError, RoundRefused

Vector = NDArray[np.uint64]

ONE = 2**32
"""The integer that stands for a weight of 1, the heaviest client's, and so for a number 1 of this client."""
LARGEST, MOST_CLIENTS = 2**20, 2**10
"""The largest number in an upload and the most clients: a sum is within 2^62, where 2^64 has room for 2^63."""
LIGHTEST = 2**20
"""The least weight: with less, the rounding to integers would take away most of what a client has learned.

A server that measures weights by something huge could so leave of a sum only the upload with the most samples.
"""
_SCALARS = 3


class NotSummableError(OmniFMError):
    """An upload holds a number that the sum has no room for; names the tensor."""


@dataclass(frozen=True)
class Scale:
    """What the weights of a round's clients are measured by, the same for all of them.

    A client is weighted with at most ``most`` of its samples; ``heaviest`` is the largest weight that one can have.
    """

    most: int
    heaviest: float

    @classmethod
    def of(cls, algorithm: Algorithm, samples: Iterable[int], checks: ChecksSettings) -> Scale:
        """Return the scale for clients with these numbers of training samples, as agreed at the start."""
        counts = list(samples)
        most = most_samples(counts, checks.max_share)
        return cls(most, algorithm.weight(_weighed(min(max(counts), most))))


@dataclass(frozen=True)
class SumLayout:
    """The tensors of a sum, by ``change/name`` or ``extra/name``, in the order of their names.

    ``reference`` holds tensors of their shapes and types. Of integers, which have no change, the difference from the
    reference is summed. After the tensors there are the weight, the loss and the samples of the client.
    """

    reference: Tensors

    @classmethod
    def of(cls, algorithm: Algorithm, broadcast: Broadcast) -> SumLayout:
        """Return the layout of what clients upload in answer to a broadcast."""
        return cls(add_prefix("change", broadcast.shared) | add_prefix("extra", algorithm.expected(broadcast)))

    @property
    def size(self) -> int:
        """The length of a vector."""
        return sum(value.numel() for value in self.reference.values()) + _SCALARS

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self.reference)

    def encode(self, upload: Upload, algorithm: Algorithm, scale: Scale) -> Vector:
        """Return an upload as integers, its tensors and its loss multiplied with its weight.

        With a weight ``w`` of at most 2^32, each number ``x`` becomes ``round(w x)``.

        Raises:
            NotSummableError: a number is not finite or too large, or the weight is none that was agreed on.
        """
        samples = min(upload.samples, scale.most)
        weight = round(algorithm.weight(replace(upload, samples=samples)) / scale.heaviest * ONE)
        if not LIGHTEST <= weight <= ONE:
            raise NotSummableError(
                f"Secure aggregation: the client's weight is not within 1/{ONE // LIGHTEST} and 1 of the heaviest's."
            )
        tensors = add_prefix("change", upload.change) | add_prefix("extra", upload.extra)
        vector, start = np.empty(self.size, np.int64), 0
        for name in self._names:
            value, reference = tensors[name].detach().cpu().reshape(-1), self.reference[name]
            exact = value.double() if value.is_floating_point() else (value - reference.reshape(-1)).double()
            vector[start : start + len(exact)] = _integers(exact.numpy(), weight, name)
            start += len(exact)
        vector[start:] = weight, _integers(np.array([upload.loss]), weight, "loss")[0], samples
        return vector.view(np.uint64)

    def decode(self, total: Vector, clients: int) -> Upload:
        """Return the sum over so many clients as an upload: the weighted mean of theirs, their samples together.

        Raises:
            RoundRefused: the sum is none of such vectors.
        """
        integers, start = total.view(np.int64), 0
        weight, loss, samples = (int(value) for value in integers[-_SCALARS:])
        if not 0 < weight <= clients * ONE or not 0 < samples <= clients * 2**31:
            raise RoundRefused("the secure sum holds no possible weights; the masks have not cancelled out")
        mean: Tensors = {}
        for name in self._names:
            reference = self.reference[name]
            part = torch.from_numpy(integers[start : start + reference.numel()] / weight).view(reference.shape)
            exact = part if reference.is_floating_point() else reference + part.round()
            mean[name] = exact.to(reference.dtype)
            start += reference.numel()
        change, extra = strip_prefix("change", mean), strip_prefix("extra", mean)
        return Upload(f"{clients} clients together", samples, loss / weight, change, extra, {SUMMED_CLIENTS: clients})


@dataclass(frozen=True)
class SecureSum:
    """The secure aggregation of an arm: the settings that its sums depend on."""

    privacy: PrivacySettings
    checks: ChecksSettings

    def least(self, clients: int) -> int:
        """Return over how many clients a sum must be, at least, where so many have trained."""
        return least_in_sum(self.privacy.secure_threshold, clients)

    def unmasked(
        self, uploads: Iterable[Upload], broadcast: Broadcast, algorithm: Algorithm, samples: Mapping[str, int]
    ) -> Iterator[Upload]:
        """Yield the sum of uploads that are all on this machine.

        Raises:
            RoundRefused: they are too few.
            NotSummableError: one holds what cannot be summed.
        """
        layout, scale = SumLayout.of(algorithm, broadcast), Scale.of(algorithm, samples.values(), self.checks)
        total, clients = np.zeros(layout.size, np.uint64), 0
        for upload in uploads:
            total += layout.encode(upload, algorithm, scale)
            clients += 1
        if clients < (least := self.least(clients)):
            raise RoundRefused(f"{clients} clients are fewer than the {least} over which a secure sum must be")
        yield layout.decode(total, clients)


def least_in_sum(threshold: int, clients: int) -> int:
    """Return over how many clients a sum must be where so many take part.

    More than two thirds: then a server that tells some that a client has answered, and others that it has not, gets
    too few shares to take off both of its masks, even if fewer than a third of the clients help it (Bonawitz et al.,
    CCS 2017, section 6.2).
    """
    return max(threshold, 2 * clients // 3 + 1)


def reason_against_sums(algorithm: Algorithm, aggregator: Aggregator, checks: ChecksSettings) -> str:
    """Return why an arm cannot do with sums of uploads, or ""."""
    if type(aggregator) is not WeightedMean:
        return "aggregation.rule must be 'mean': other rules compare single uploads, which the server does not see"
    if checks.max_norm:
        return (
            "set checks.max_norm = 0: the server sees no single upload whose norm it could check (privacy.clip bounds "
            "it at the hospital, as far as hospitals are honest)"
        )
    if algorithm.needs_uploads:
        return algorithm.needs_uploads
    light, heavy = (algorithm.weight(replace(_weighed(10), loss=loss)) for loss in (0.5, 2.0))
    if light != heavy or not light > 0:
        return "the algorithm weights clients by more than their numbers of samples, which the server does not see"
    return ""


def reason_against_size(clients: int, threshold: int) -> str:
    """Return why so many clients a round are too few or too many for secure sums, or ""."""
    least = least_in_sum(threshold, clients)
    if clients < least:
        return f"{clients} clients a round are fewer than privacy.secure_threshold = {threshold}"
    return f"{clients} clients a round are more than {MOST_CLIENTS}" if clients > MOST_CLIENTS else ""


def _weighed(samples: int) -> Upload:
    return Upload("", samples, 1.0, {})


def _integers(values: NDArray[np.float64], weight: int, name: str) -> NDArray[np.int64]:
    if not np.all(np.abs(values) <= LARGEST):  # NaN is not
        raise NotSummableError(
            f"Secure aggregation: {name!r} holds a number that is not finite or beyond {LARGEST}, for which a sum has "
            "no room. Lower training.learning_rate, or set privacy.clip."
        )
    return np.rint(values * weight).astype(np.int64)
