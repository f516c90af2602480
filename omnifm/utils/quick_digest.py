"""The digest of megabytes that are hashed in every round."""

from __future__ import annotations

from hashlib import blake2b


def quick_digest(*parts: bytes | bytearray | memoryview) -> str:
    """Return the BLAKE2b of 32 bytes of parts, as ``b2sum --length 256`` does.

    It takes half the time of SHA-256 on processors without SHA instructions.
    """
    digest = blake2b(digest_size=32)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
