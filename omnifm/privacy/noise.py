"""Gaussian noise and coins that nobody without the client's secret can predict or take away.

The random bytes are the output of SHAKE-256 (FIPS 202) keyed with the secret: the same names give the same bytes after
a crash, and bytes of other names tell nothing about them. A generator such as NumPy's default one is not made for
that: who sees many of its numbers can compute the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from omnifm.privacy.secret import ClientSecret

Floats = npt.NDArray[np.float64]

_CHUNK = 1 << 18
"""So many numbers are made at a time, to bound the memory."""
_SUMMED = 4


def gaussian_noise(secret: ClientSecret, count: int, *names: object) -> Floats:
    """Return ``count`` independent standard normal numbers of the stream that ``names`` (JSON values) name.

    Each is half the sum of four by Box and Muller. The rounding of one alone can betray what it was added to; that
    of a sum of several cannot be undone in practice (Holohan and Braghin, Secure Random Sampling in Differential
    Privacy, ESORICS 2021).
    """
    parts = [_normal(uniform.reshape(_SUMMED, -1)) for uniform in _uniforms(secret, count, _SUMMED, names)]
    return np.concatenate(parts) if parts else np.zeros(0)


def secret_coins(secret: ClientSecret, count: int, probability: float, *names: object) -> npt.NDArray[np.bool_]:
    """Return ``count`` independent coins, each true with the ``probability``."""
    parts = [uniform <= probability for uniform in _uniforms(secret, count, 1, names)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)


def _normal(uniform: Floats) -> Floats:
    """Return half the sum of the four normal numbers that the columns of ``(4, n)`` uniform ones give."""
    radius = np.sqrt(-2.0 * np.log(uniform[::2]))
    angle = 2.0 * np.pi * uniform[1::2]
    summed: Floats = (radius * (np.cos(angle) + np.sin(angle))).sum(axis=0) / 2.0
    return summed


def _uniforms(secret: ClientSecret, count: int, each: int, names: tuple[object, ...]) -> Iterator[Floats]:
    """Yield ``each`` numbers in (0, 1], of 53 bits, for up to ``_CHUNK`` of the ``count`` at a time."""
    for start in range(0, count, _CHUNK):
        size = each * min(_CHUNK, count - start)
        stream = hashlib.shake_256(secret.value + json.dumps([start, *names]).encode()).digest(8 * size)
        bits = np.frombuffer(stream, dtype="<u8") >> np.uint64(11)
        yield (bits.astype(np.float64) + 1.0) * 2.0**-53
