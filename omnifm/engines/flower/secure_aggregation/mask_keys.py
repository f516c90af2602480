"""The keys of the two kinds of masks, which a hospital puts on its vector and the server takes off the sum."""

from __future__ import annotations

from omnifm.engines.flower.secure_aggregation.exchange import Advertisement, binary
from omnifm.engines.flower.secure_aggregation.primitives import SECRET_BYTES, agreed_key, derived_key


def seed_mask_key(seed: bytes, client: str, context: str, number: str) -> bytes:
    """Return the key of the mask that only a hospital's own seed makes."""
    return derived_key(seed, "own mask", context, number, client)


def pair_mask_key(masking: bytes, other: Advertisement, client: str, context: str, number: str) -> bytes:
    """Return the key of the mask that two hospitals agree on: one adds it, the other subtracts it."""
    pair = sorted((client, other.client))
    return agreed_key(masking, binary(other.masking, SECRET_BYTES), "mask of two", context, number, *pair)
