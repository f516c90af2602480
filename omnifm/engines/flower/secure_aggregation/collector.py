"""The server's side of one secure sum: it passes on what hospitals tell one another, adds up and takes off masks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from omnifm.engines.flower.secure_aggregation.credentials import verified_key
from omnifm.engines.flower.secure_aggregation.exchange import (
    Advertisement,
    MaskedVector,
    SumReply,
    SumRequest,
    SumStage,
    binary,
)
from omnifm.engines.flower.secure_aggregation.mask_keys import pair_mask_key, seed_mask_key
from omnifm.engines.flower.secure_aggregation.primitives import (
    SECRET_BYTES,
    add_mask,
    commitment,
    is_signed,
    joined_secret,
    public_half,
)
from omnifm.federation.secure_sum import Vector
from omnifm.utils.errors import RoundRefused

_SEALED = 2 * SECRET_BYTES + 28
"""The bytes of two shares, encrypted, with their nonce and tag."""


class SumCollector:
    """One sum of one round.

    Args:
        context: what all its members have in common, as they compute it.
        number: of the round.
        size: of a vector.
        least: returns over how many hospitals the sum must be, of the number of those that take part.
    """

    def __init__(self, context: str, number: int, size: int, least: Callable[[int], int]) -> None:
        self._context, self._round, self._least = context, number, least
        self._number = secrets.token_hex(16)
        self._total: Vector = np.zeros(size, np.uint64)
        self._keys: dict[str, Advertisement] = {}
        self._sealed: dict[str, dict[str, str]] = {}
        self._senders: list[str] = []
        self._signatures: dict[str, str] = {}
        self._shares: dict[str, SumReply] = {}

    @property
    def members(self) -> list[str]:
        """The hospitals whose vectors are in the sum."""
        return sorted(self._senders)

    def request(self, stage: SumStage, client: str) -> SumRequest:
        """Return the request of a stage to a hospital."""
        request = SumRequest(stage, self._round, self._number)
        match stage:
            case "shares":
                return replace(request, keys=tuple(self._keys[name] for name in sorted(self._keys)))
            case "vector":
                return replace(request, shares={n: sealed[client] for n, sealed in self._sealed.items() if n != client})
            case "confirm":
                return replace(request, survivors=tuple(self.members))
            case "unmask":
                return replace(request, signatures=self._signatures)
            case _:
                return request

    def asked(self, stage: SumStage, trained: Mapping[str, object]) -> list[str]:
        """Return the hospitals that a stage is asked of: those that have answered the one before."""
        before: dict[SumStage, Mapping[str, object]] = {
            "keys": trained,
            "shares": self._keys,
            "vector": self._sealed,
            "confirm": dict.fromkeys(self._senders),
            "unmask": self._signatures,
        }
        return list(before[stage])

    def take(self, stage: SumStage, client: str, reply: SumReply | None, masked: MaskedVector | None) -> None:
        """Take a hospital's answer to a stage.

        Raises:
            ValueError: it is none; says why.
        """
        if reply is None or (masked is not None) != (stage == "vector"):
            raise ValueError(f"it does not answer the stage {stage!r} of a secure sum")
        match stage:
            case "keys":
                self._take_keys(client, reply.advertisement)
            case "shares":
                if reply.shares.keys() != self._keys.keys() - {client}:
                    raise ValueError("it has not shared its secrets with every other hospital")
                for sealed in reply.shares.values():
                    binary(sealed, _SEALED)
                self._sealed[client] = reply.shares
            case "vector":
                assert masked is not None
                if len(masked.vector) != len(self._total):
                    raise ValueError(f"its vector is not of {len(self._total)} integers")
                self._total += masked.vector
                self._senders.append(client)
            case "confirm":
                binary(reply.signature)
                self._signatures[client] = reply.signature
            case "unmask":
                dropped = self._sealed.keys() - set(self._senders)
                if reply.seeds.keys() != set(self._senders) or reply.masking.keys() != dropped:
                    raise ValueError("it has not given its shares of what is to be taken off")
                for share in (*reply.seeds.values(), *reply.masking.values()):
                    binary(share, SECRET_BYTES)
                self._shares[client] = reply

    def close(self, stage: SumStage) -> None:
        """End a stage.

        Raises:
            RoundRefused: too few hospitals have answered it.
        """
        answered: dict[SumStage, int] = {
            "keys": len(self._keys),
            "shares": len(self._sealed),
            "vector": len(self._senders),
            "confirm": len(self._signatures),
            "unmask": len(self._shares),
        }
        least = self._least(len(self._keys))
        if answered[stage] < least:
            raise RoundRefused(
                f"{answered[stage]} hospitals have answered the stage {stage!r} of the secure sum, and it takes {least}"
            )

    def total(self) -> Vector:
        """Return the sum, once all stages have ended.

        Raises:
            RoundRefused: shares do not give the secrets that their owners have shown.
        """
        total, senders = self._total, set(self._senders)
        purpose = (self._context, self._number)
        for name in self.members:
            seed = self._joined({client: reply.seeds[name] for client, reply in self._shares.items()})
            if commitment(seed).hex() != self._keys[name].commitment:
                raise RoundRefused(f"the shares of the seed of {name} do not fit together")
            add_mask(total, seed_mask_key(seed, name, *purpose), -1)
        for name in self._sealed.keys() - senders:
            masking = self._joined({client: reply.masking[name] for client, reply in self._shares.items()})
            if public_half(masking).hex() != self._keys[name].masking:
                raise RoundRefused(f"the shares of the masking key of {name} do not fit together")
            for other in senders:
                key = pair_mask_key(masking, self._keys[other], name, *purpose)
                add_mask(total, key, -1 if other < name else +1)
        return total

    def _take_keys(self, client: str, shown: Advertisement | None) -> None:
        if shown is None or shown.client != client:
            raise ValueError("it has shown no keys of its own")
        signer = verified_key(binary(shown.certificate), client, None)  # by whom it is signed, the hospitals look at
        if not is_signed(signer, binary(shown.signature), *shown.signed(self._context, self._number)):
            raise ValueError("its keys are not signed for this sum")
        self._keys[client] = shown

    def _joined(self, shares: Mapping[str, str]) -> bytes:
        """Join as many of the shares of a secret as it takes, by the places of their holders among all."""
        places = {name: place for place, name in enumerate(sorted(self._keys), start=1)}
        enough = sorted(shares)[: self._least(len(self._keys))]
        return joined_secret({places[name]: binary(shares[name]) for name in enough})
