"""What server and hospitals write to each other: JSON and records, in bytes that are not believed before checked.

Server -> hospital: :class:`Request`. Hospital -> server: :class:`Reply`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
import pydantic
from pydantic import ConfigDict, TypeAdapter

from omnifm.config.toml import Document
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, Record, Upload
from omnifm.core.serialization import ALIGNMENT, TensorBuffer, aligned, unpack_tensors
from omnifm.data.client_stats import ClientStats
from omnifm.engines.flower.secure_aggregation.exchange import MaskedVector, SumReply, SumRequest
from omnifm.federation.secure_sum import Scale
from omnifm.runs.arm import DataSpec
from omnifm.tasks.task import DataShape, Scores

MESSAGE_FORMAT = 3
"""Raise it when the messages change; a message of another format is not read."""


@dataclass(frozen=True)
class WireMessage:
    """Its fields are JSON, but for records with tensors.

    Its bytes are a tensor buffer with the JSON, in which a length stands for each record, followed by the records.
    """

    def to_bytes(self, packed: Mapping[str, bytes | bytearray] | None = None) -> bytes:
        """Serialise; ``packed`` are the bytes of records, by field, that have been serialised already."""
        plain: dict[str, Any] = {}
        parts: list[bytes | bytearray] = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name in (packed or {}) or isinstance(value, Record):
                parts.append(packed[f.name] if packed and f.name in packed else value.to_bytes())
                plain[f.name] = len(parts[-1])
            else:
                plain[f.name] = _plain(value)
        return b"".join([TensorBuffer({}, plain).to_bytes(), *parts])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Undo :meth:`to_bytes`.

        Raises:
            ValueError: it is not such a message; says what is wrong.
        """
        try:
            memory = aligned(data)
            plain = unpack_tensors(memory)[1]
            kinds = {f.name: f.metadata["record"] for f in dataclasses.fields(cls) if "record" in f.metadata}
            sizes = {name: plain.pop(name) for name in kinds if plain.get(name) is not None}
            text = json.dumps({key: value for key, value in plain.items() if value is not None})
            payload: Self = _reader(cls).validate_json(text)  # type: ignore[arg-type]
            start, records = len(memory) - sum(sizes.values()), dict[str, Record]()
            for name, size in sizes.items():
                if start < 0 or size < 0 or start % ALIGNMENT:
                    raise ValueError(f"no {cls.__name__}: a record is not where it should be")
                records[name] = kinds[name].unpack(*unpack_tensors(memory[start : start + size]))
                start += size
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no {cls.__name__}: {error!r}") from None
        return dataclasses.replace(payload, **records)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


@lru_cache
def _reader(kind: type) -> TypeAdapter[Any]:
    config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)
    return TypeAdapter(pydantic.with_config(config)(kind))


@dataclass(frozen=True)
class Request(WireMessage):
    """A request from the server to a hospital.

    ``run`` and ``arm`` name the run; ``issued`` grows with every request of a run, so that an old one is recognised.
    ``experiment`` is the arm's without any data; ``weights`` the SHA-256 of the file that it starts from, if any.
    ``labels`` and ``vocabulary`` are the federation's; without ``broadcast`` the hospital introduces itself.
    ``state`` is the digest of the state to continue from, ``keep`` are the digests of those that may still be needed.
    ``evaluations`` lists the splits and evaluation points at which the model is evaluated, ``train`` says whether it
    is trained. ``message`` holds, in its ``extra``, what this client alone receives with the broadcast.

    With secure aggregation, ``scale`` is by what weights are measured in training, and ``sum`` is a stage of a sum; the
    request is then for nothing else.
    """

    run: str
    arm: str
    issued: int
    experiment: Document
    _: KW_ONLY
    weights: str = ""
    labels: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    state: str | None = None
    keep: tuple[str, ...] = ()
    evaluations: tuple[tuple[Split, EvaluationPoint], ...] = ()
    train: bool = False
    scale: Scale | None = None
    sum: SumRequest | None = None
    broadcast: pydantic.SkipValidation[Broadcast | None] = field(default=None, metadata={"record": Broadcast})
    message: pydantic.SkipValidation[Broadcast | None] = field(default=None, metadata={"record": Broadcast})

    @property
    def received(self) -> Broadcast | None:
        """The broadcast with this hospital's own message."""
        if self.broadcast is None or self.message is None:
            return self.broadcast
        return self.broadcast.with_message(self.message.extra)


@dataclass(frozen=True)
class ClientProperties:
    """The properties of a hospital: names, numbers, and the answers to questions that many of its patients share."""

    stats: ClientStats
    shape: DataShape
    _: KW_ONLY
    channels: int
    axes: int
    versions: dict[str, str]

    @property
    def data_spec(self) -> DataSpec:
        """The data properties for an arm."""
        return DataSpec(shape=self.shape, channels=self.channels, axes=self.axes, client_stats=(self.stats,))


@dataclass(frozen=True)
class EvaluationResult:
    """The scores of one split at one evaluation point."""

    split: Split
    point: EvaluationPoint
    numbers: dict[str, float]
    tables: dict[str, list[Any]]

    @classmethod
    def of(cls, split: Split, point: EvaluationPoint, scores: Scores) -> EvaluationResult:
        """Make it of scores."""
        return cls(split, point, scores.numbers, {name: table.tolist() for name, table in scores.tables.items()})

    @property
    def scores(self) -> Scores:
        """The scores."""
        return Scores(self.numbers, {name: np.array(table) for name, table in self.tables.items()})


@dataclass(frozen=True)
class Reply(WireMessage):
    """The answer of a hospital.

    ``outcome``: the work is ``done``, was ``refused`` or has ``failed``, the latter two with a ``reason`` in words.
    ``state`` is the digest of its new state; ``seconds`` the time spent, by purpose. With secure aggregation there is
    no ``upload``: ``sum`` is the answer to a stage of a sum, ``masked`` its vector.
    """

    client: str
    outcome: Literal["done", "refused", "failed"]
    reason: str = ""
    _: KW_ONLY
    introduction: ClientProperties | None = None
    state: str | None = None
    evaluations: tuple[EvaluationResult, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    sum: SumReply | None = None
    upload: pydantic.SkipValidation[Upload | None] = field(default=None, metadata={"record": Upload})
    masked: pydantic.SkipValidation[MaskedVector | None] = field(default=None, metadata={"record": MaskedVector})
