"""A client's secret, from which the randomness of its privacy is derived.

All other randomness of OmniFM follows from the experiment's seed, which the server chose: it could compute any noise
drawn so, and subtract it. Noise and masks draw from here. It is the one exception to "same seed, same bits": the bits
are the same again where the secret is the same, so also after a crash, and differ where a run starts anew.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np

from omnifm.utils.atomic_write import write_privately
from omnifm.utils.errors import CheckpointError

BYTES = 32


class ClientSecret:
    """Random bytes of one client in one arm of a run, made when they are first asked for.

    They lie in a file that only its owner may read; without a ``path`` they last as long as this object. They are part
    of no record, message, log or checkpoint, and cannot be pickled or printed.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @cached_property
    def value(self) -> bytes:
        """The bytes.

        Raises:
            CheckpointError: the file cannot be read or written, or is damaged.
        """
        if self._path is None:
            return secrets.token_bytes(BYTES)
        try:
            if not self._path.exists():
                write_privately(self._path, secrets.token_bytes(BYTES))
            found = self._path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"The client's secret {self._path} cannot be used: {error.strerror}.") from None
        if len(found) != BYTES:
            raise CheckpointError(f"The client's secret {self._path} is damaged. Remove it and start the run anew.")
        return found

    def __repr__(self) -> str:
        return "ClientSecret(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client's secret stays where it is")


def private_generator(secret: ClientSecret, *names: object) -> np.random.Generator:
    """Return a generator that only who knows the secret can have, for the stream that ``names`` (JSON values) name.

    Its seed is the keyed BLAKE2b hash (RFC 7693) of the names. They must name all that decides what the numbers are
    added to, such as the round and a digest of the upload: the same noise on two different uploads cancels out in
    their difference.
    """
    digest = hashlib.blake2b(json.dumps(names).encode(), key=secret.value, digest_size=BYTES).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
