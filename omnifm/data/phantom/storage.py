"""Tensors that are dear to make, kept on disk. A cache may always fail: then its content is made again."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

log = logging.getLogger(__name__)


def cached(path: Path, names: frozenset[str], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors stored at ``path``; where they are not there (or are damaged), make and store them.

    ``names`` are the tensors the file must hold. A disk that is full or read-only costs only a warning.
    """
    if path.is_file():
        try:
            tensors: dict[str, Tensor] = load_file(path)
            if tensors.keys() == names:
                return tensors
            log.warning("cache %s holds other tensors than expected; making it again", path)
        except (SafetensorError, OSError, ValueError) as error:
            log.warning("cache %s cannot be read (%s); making it again", path, error)
    tensors = make()
    try:
        _write(path, save(tensors))
    except OSError as error:
        log.warning("cache %s cannot be written (%s); going on without it", path, error)
    return tensors


def _write(path: Path, content: bytes) -> None:
    """Write all or nothing: readers see the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
