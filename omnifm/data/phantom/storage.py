"""Tensors that are dear to make, kept on disk. A cache may always fail: then its content is made again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from omnifm.files import write_atomically

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
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors))
    except OSError as error:
        log.warning("cache %s cannot be written (%s); going on without it", path, error.strerror)
    return tensors
