"""The digest of megabytes that are hashed in every round."""

from __future__ import annotations

from blake3 import blake3


def quick_digest(*parts: bytes | bytearray | memoryview) -> str:
    """Return the BLAKE3 digest of parts, 32 bytes in hexadecimal, as ``b3sum`` does.

    On processors without SHA instructions it takes a ninth of the time of BLAKE2b, and a fifteenth of that of SHA-256.
    """
    digest = blake3()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
