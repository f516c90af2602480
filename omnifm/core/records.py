"""The four things that an algorithm keeps or sends, as tensors and JSON: no pickle anywhere.

Server -> client: :class:`Broadcast`. Client -> server: :class:`Upload`, the only type that leaves a hospital.
What the server remembers: :class:`ServerState`. What never leaves a hospital: :class:`ClientState`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Self

from torch import Tensor

from omnifm.core.serialization import TensorBuffer, aligned, unpack_tensors
from omnifm.core.tensors import Tensors, total_norm

OWN_WEIGHTS = "weights"
"""Tensors of a broadcast's ``extra`` under this prefix are weights of the network that this client alone receives."""


@dataclass(frozen=True)
class Record:
    """Fields that are mappings of tensors are packed as tensors, all others as JSON."""

    TENSORS: ClassVar[tuple[str, ...]]

    def pack(self) -> tuple[Tensors, dict[str, Any]]:
        """Return ``(tensors by "field/name", plain values by field)``."""
        tensors = {f"{part}/{name}": value for part in self.TENSORS for name, value in getattr(self, part).items()}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.TENSORS}
        return tensors, plain

    @classmethod
    def unpack(cls, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> Self:
        """Undo :meth:`pack`."""
        parts: dict[str, Tensors] = {part: {} for part in cls.TENSORS}
        for key, value in tensors.items():
            part, name = key.split("/", 1)
            parts[part][name] = value
        return cls(**parts, **plain)

    def to_bytes(self) -> bytearray:
        """Serialise."""
        return TensorBuffer(*self.pack()).to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray) -> Self:
        """Undo :meth:`to_bytes`.

        Raises:
            ValueError: it is no record of this kind, or cut short.
        """
        return cls.from_memory(aligned(data))

    @classmethod
    def from_memory(cls, memory: memoryview) -> Self:
        """Undo :meth:`to_bytes` in place: the tensors are views of the memory, which is aligned.

        Raises:
            ValueError: it is no record of this kind, or cut short.
        """
        try:
            return cls.unpack(*unpack_tensors(memory))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no {cls.__name__}: {error!r}") from None

    @property
    def size(self) -> int:
        """Bytes of its tensors."""
        return sum(value.nbytes for part in self.TENSORS for value in getattr(self, part).values())


@dataclass(frozen=True)
class ServerState(Record):
    """``shared`` weights and buffers by name; ``memory`` and ``notes`` are the algorithm's own.

    ``round`` counts finished rounds. ``notes`` holds JSON values; those under ``"report"`` go to the metrics log.
    """

    TENSORS = ("shared", "memory")
    shared: Tensors
    round: int = 0
    memory: Tensors = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def norm(self) -> float:
        """The L2 norm of the shared tensors, measured once."""
        return total_norm(self.shared)


@dataclass(frozen=True)
class Broadcast(Record):
    """What the sampled clients receive in round ``round``: the shared tensors and the algorithm's ``extra``."""

    TENSORS = ("shared", "extra")
    round: int
    shared: Tensors
    extra: Tensors = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def with_message(self, message: Tensors) -> Broadcast:
        """Return it as one client receives it, whose own message is part of ``extra``."""
        return replace(self, extra={**self.extra, **message}) if message else self


@dataclass(frozen=True)
class Upload(Record):
    """What a client sends back.

    ``change`` is the difference of each shared tensor from what was broadcast (integer buffers: their value),
    ``samples`` the training samples behind it, ``loss`` its mean training loss. In a private run the samples are
    patients, counted with noise, and there is no loss.
    """

    TENSORS = ("change", "extra")
    client: str
    samples: int
    loss: float | None
    change: Tensors
    extra: Tensors = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def norm(self) -> float:
        """The L2 norm of its change: measured once, as several checks ask for it."""
        return total_norm(self.change)


@dataclass(frozen=True)
class ClientState(Record):
    """What a client keeps: its ``personal`` tensors and the algorithm's ``memory``."""

    TENSORS = ("personal", "memory")
    personal: Tensors = field(default_factory=dict)
    memory: Tensors = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
