"""The cryptography: functions of ``cryptography`` and PyCryptodome, put together and none of our own.

Keys are agreed by X25519 (RFC 7748) and derived by HKDF with SHA-256 (RFC 5869), masks are ChaCha20 key streams, shares
travel under ChaCha20-Poly1305 (RFC 8439) and are Shamir's, over GF(2^128). Signatures are ECDSA with SHA-256.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import numpy as np
from Crypto.Protocol.SecretSharing import Shamir  # nosec B413: PyCryptodome, which is kept, not the old pyCrypto
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from omnifm.federation.secure_sum import Vector

SECRET_BYTES = 32
"""Of private and public keys, seeds and derived keys."""
_BLOCK = 16
_NONCE, _STREAM_NONCE = 12, bytes(16)
_AT_ONCE = 2**20


def public_half(private: bytes) -> bytes:
    """Return the public key of an X25519 private key; any 32 bytes are one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agreed_key(private: bytes, public: bytes, *purpose: str) -> bytes:
    """Return the key that the owners of two pairs of keys have in common, for one purpose.

    Raises:
        ValueError: the public key is none, or one of those with which every agreement is the same.
    """
    shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    return derived_key(shared, *purpose)


def derived_key(secret: bytes, *purpose: str) -> bytes:
    """Return a key that follows from a secret; that for another purpose tells nothing about it."""
    return HKDF(hashes.SHA256(), SECRET_BYTES, salt=None, info=_joined(purpose)).derive(secret)


def add_mask(vector: Vector, key: bytes, sign: int) -> None:
    """Add the key stream of a key to a vector modulo 2^64, or subtract it, in place; use a key for one vector only."""
    stream = Cipher(ChaCha20(key, _STREAM_NONCE), mode=None).encryptor()
    for start in range(0, len(vector), _AT_ONCE):
        part = vector[start : start + _AT_ONCE]
        mask = np.frombuffer(stream.update(bytes(8 * len(part))), "<u8")
        if sign > 0:
            part += mask
        else:
            part -= mask


def encrypt(key: bytes, text: bytes) -> bytes:
    """Encrypt so that a change would be noticed."""
    nonce = os.urandom(_NONCE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, text, None)


def decrypt(key: bytes, data: bytes) -> bytes:
    """Undo :func:`encrypt`.

    Raises:
        ValueError: the data were changed, or encrypted with another key.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(data[:_NONCE], data[_NONCE:], None)
    except InvalidTag:
        raise ValueError("what is encrypted was changed on the way, or is for somebody else") from None


def split_secret(secret: bytes, least: int, count: int) -> list[bytes]:
    """Return ``count`` shares of 32 bytes, numbered from 1 on; ``least`` of them tell the secret, fewer nothing."""
    blocks = [secret[start : start + _BLOCK] for start in range(0, SECRET_BYTES, _BLOCK)]
    parts = [dict(Shamir.split(least, count, block, ssss=False)) for block in blocks]
    return [b"".join(part[number] for part in parts) for number in range(1, count + 1)]


def joined_secret(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of exactly ``least`` shares by their numbers; of wrong shares, something else."""
    starts = range(0, SECRET_BYTES, _BLOCK)
    blocks = ([(number, share[at : at + _BLOCK]) for number, share in shares.items()] for at in starts)
    return b"".join(Shamir.combine(block, ssss=False) for block in blocks)


def commitment(seed: bytes) -> bytes:
    """Return what a random seed can be recognised by, and not be found from."""
    return derived_key(seed, "commitment")


def sign(key: ec.EllipticCurvePrivateKey, *message: str) -> bytes:
    """Sign a list of texts."""
    return key.sign(_joined(message), ec.ECDSA(hashes.SHA256()))


def is_signed(key: ec.EllipticCurvePublicKey, signature: bytes, *message: str) -> bool:
    """Return whether it is the signature of a list of texts by the owner of a key."""
    try:
        key.verify(signature, _joined(message), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _joined(texts: tuple[str, ...]) -> bytes:
    """Return texts as bytes that no other texts have, and no other use of a key."""
    return json.dumps(["OmniFM secure aggregation 1", *texts]).encode()
