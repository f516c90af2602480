"""The user's secret by which numbers of patients become pseudonyms, the same each time a folder is looked at."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from platformdirs import user_data_dir

_BYTES = 32


def pseudonym_key() -> bytes:
    """Return the secret, made when it is first needed; only the user may read it.

    It lies with the user's data and not beside a manifest: who has both could try the numbers of patients one by one.
    """
    path = Path(user_data_dir("omnifm")) / "pseudonyms.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_bytes()  # another process was faster
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
    return path.read_bytes()
