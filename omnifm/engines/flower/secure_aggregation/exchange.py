"""What server and hospitals write to each other in a secure sum, and what of it both must agree on.

Binary values are texts in hexadecimal digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from hashlib import sha256
from typing import Any, Literal, Self, get_args

import numpy as np
import torch

from omnifm.core.records import Record
from omnifm.core.tensors import Tensors
from omnifm.federation.secure_sum import MOST_CLIENTS, Vector

SumStage = Literal["keys", "shares", "vector", "confirm", "unmask"]
"""The stages of a sum, in order; each is a request to the hospitals that have answered the one before."""
SUM_STAGES: tuple[SumStage, ...] = get_args(SumStage)
_LONGEST = 10_000
_VECTOR = "sum"


@dataclass(frozen=True)
class Advertisement:
    """What a hospital shows of its secrets of one sum: two public keys, and what its seed can be recognised by.

    ``certificate`` is the hospital's, ``encryption`` and ``masking`` are keys of X25519. The ``signature`` is over all
    of it, the sum's context and its number, so that hospitals that were sent different weights do not go on.
    """

    client: str
    certificate: str
    encryption: str
    masking: str
    commitment: str
    signature: str

    def signed(self, context: str, number: str) -> tuple[str, ...]:
        """Return what the signature is of."""
        return ("keys", context, number, self.client, self.encryption, self.masking, self.commitment)


@dataclass(frozen=True)
class SumRequest:
    """One stage of the ``number``-th sum of a round; the number is random, and not used twice.

    ``keys`` (of the stage ``shares``) are the advertisements of all, ``shares`` (of ``vector``) what each of the others
    has encrypted for the receiver, ``survivors`` (of ``confirm``) those whose vectors have arrived, and ``signatures``
    (of ``unmask``) are theirs over that list.
    """

    stage: SumStage
    round: int
    number: str
    _: KW_ONLY
    keys: tuple[Advertisement, ...] = ()
    shares: dict[str, str] = field(default_factory=dict)
    survivors: tuple[str, ...] = ()
    signatures: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A digest of the whole request."""
        parts: list[object] = [self.stage, self.round, self.number, [vars(key) for key in self.keys], self.shares]
        return _digest([*parts, self.survivors, self.signatures])


@dataclass(frozen=True)
class SumReply:
    """The answer to a stage; only the field of the stage is set.

    ``advertisement`` (of ``keys``), ``shares`` (of ``shares``) for each of the others, ``signature`` (of ``confirm``),
    and of ``unmask`` the shares that it holds: of the ``seeds`` of those who have sent vectors, and of the ``masking``
    keys of those who have not. The vector of the stage ``vector`` is a record beside it.
    """

    advertisement: Advertisement | None = None
    _: KW_ONLY
    shares: dict[str, str] = field(default_factory=dict)
    signature: str = ""
    seeds: dict[str, str] = field(default_factory=dict)
    masking: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MaskedVector(Record):
    """A vector of integers modulo 2^64, as one tensor of int64."""

    TENSORS = ("values",)
    values: Tensors

    @classmethod
    def of(cls, vector: Vector, **fields: Any) -> Self:
        """Make it of a vector, and of the other fields of a subclass."""
        return cls(values={_VECTOR: torch.from_numpy(vector.view(np.int64))}, **fields)

    @property
    def vector(self) -> Vector:
        """The vector.

        Raises:
            ValueError: it holds something else.
        """
        if self.values.keys() != {_VECTOR} or (value := self.values[_VECTOR]).dtype != torch.int64 or value.dim() != 1:
            raise ValueError("it holds no vector of integers")
        return value.numpy().view(np.uint64)


def transcript(keys: Sequence[Advertisement], senders: Iterable[str], survivors: Iterable[str]) -> str:
    """Return a digest of who has shown which keys, who has sent shares, and who vectors: what is confirmed."""
    return _digest([[vars(key) for key in keys], sorted(senders), sorted(survivors)])


def binary(text: str, size: int = 0) -> bytes:
    """Return the bytes that a text stands for.

    Raises:
        ValueError: it stands for none, or not for ``size`` (0: for any number).
    """
    data = bytes.fromhex(text)
    if size and len(data) != size:
        raise ValueError(f"{len(data)} bytes in place of {size}")
    return data


def check_form(request: SumRequest) -> None:
    """Check the lengths of what a request lists, before anything is done with it.

    Raises:
        ValueError: it is longer than any of ours.
    """
    listed: list[Mapping[str, str]] = [request.shares, request.signatures, *map(vars, request.keys)]
    texts = [text for table in listed for pair in table.items() for text in pair] + [request.number, *request.survivors]
    counts = (len(request.keys), len(request.shares), len(request.survivors), len(request.signatures))
    if max(counts) > MOST_CLIENTS or max(map(len, texts)) > _LONGEST or not 0 < request.round < 2**31:
        raise ValueError(f"a sum is over at most {MOST_CLIENTS} hospitals, and no text in it is longer than {_LONGEST}")


def _digest(plain: object) -> str:
    return sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
