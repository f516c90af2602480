"""One stream of random numbers for each named thing, so that nothing depends on what else is made."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to ``names`` under ``seed``.

    Its state is the SHA-256 of the seed and the names: the same names give the same bits whatever else was
    drawn before, and different names give independent streams.
    """
    digest = hashlib.sha256(json.dumps([seed, *names]).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
