"""Every random stream is derived from what it is for, never from a global state: same seed, same bits.

A stream is named by its parts, e.g. ``generator(seed, "client", "CT-1", round)``. The same parts give the
same stream in whatever process, order or number of workers it is asked for, so that one worker, two workers
and a real deployment give identical weights, and a resumed run equals an uninterrupted one.

These streams hide nothing: who knows the experiment, as the server does, can draw them too. Noise that protects a
client comes from its own secret instead (``omnifm.privacy.secret``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np
import torch


def derive_seed(*parts: object) -> int:
    """Return the 63-bit seed of the stream that ``parts`` (numbers, strings, lists of them) name.

    The parts are joined as JSON, so that ("a", "bc") and ("ab", "c"), or 1 and "1", name different streams.

    Raises:
        TypeError: a part is not JSON, such as an array.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def derive_seeds(parts: Sequence[object], names: Iterable[str]) -> dict[str, int]:
    """Return, for each name, what ``derive_seed(*parts, name)`` does; the parts are hashed once."""
    common = hashlib.sha256(f"{json.dumps(parts)[:-1]}, ".encode())
    seeds = {}
    for name in names:
        whole = common.copy()
        whole.update(f"{json.dumps(name)}]".encode())
        seeds[name] = int.from_bytes(whole.digest()[:8], "big") >> 1
    return seeds


def generator(*parts: object) -> torch.Generator:
    """Return a fresh CPU generator of torch for the stream that ``parts`` name."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def numpy_generator(*parts: object) -> np.random.Generator:
    """Return a fresh generator of NumPy for the stream that ``parts`` name."""
    return np.random.default_rng(derive_seed(*parts))
