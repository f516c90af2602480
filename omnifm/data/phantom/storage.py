"""Tensors that are expensive to make, cached on disk. Where the cache fails, its content is made again.

A file carries the SHA-256 of its tensors, which is looked at once a process, for as long as the file stays the same. It
finds damage, and files of other origin; who can write there can also write another digest.

What is read from the cache is the file itself, mapped into memory, which all processes share.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from omnifm.core.tensors import digest
from omnifm.utils.atomic_write import replacing

log = logging.getLogger(__name__)

_TYPES = {torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}


def cached(path: Path, names: frozenset[str], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors stored at ``path``; where they are not there (or are damaged), make and store them.

    ``names`` are the tensors the file must hold. A disk that is full or read-only costs only a warning.
    """
    if (tensors := _read(path, names)) is not None:
        return tensors
    tensors = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            _write(temporary, tensors)
    except OSError as error:
        log.warning("cache %s cannot be written (%s); continuing without it", path, error.strerror)
        return tensors
    stored = _read(path, names)
    return tensors if stored is None else stored  # frees what was made


def _read(path: Path, names: frozenset[str]) -> dict[str, Tensor] | None:
    """Return the tensors of the file, mapped into memory, or None with a warning if it is of no use."""
    if not path.is_file():
        return None
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        log.warning("cache %s cannot be read (%s); making it again", path, error)
        return None
    if tensors.keys() != names:
        log.warning("cache %s holds other tensors than expected; making it again", path)
        return None
    status = path.stat()
    if not _is_whole(path, status.st_ino, status.st_size, status.st_mtime_ns):
        log.warning("cache %s has another SHA-256 than it says, or says none; making it again", path)
        return None
    return tensors


@lru_cache(maxsize=64)
def _is_whole(path: Path, *file: int) -> bool:
    """Return whether the file has the SHA-256 that it carries; ``file`` is what tells this file from a later one."""
    with safe_open(path, framework="pt") as opened:
        stated = stated_digest(path)
        return stated is not None and stated == digest({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118 - not a mapping


def stated_digest(path: Path) -> str | None:
    """Return the SHA-256 that a file says it has, if any."""
    with safe_open(path, framework="pt") as opened:
        return (opened.metadata() or {}).get("sha256")


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file straight from the tensors' memory.

    The library's own writers either copy it all, or leave temporary files of their own when they are killed.
    """
    ordered = sorted(tensors, key=lambda name: -tensors[name].itemsize)  # so that each is aligned
    header: dict[str, Any] = {"__metadata__": {"sha256": digest(tensors)}}
    end = 0
    for name in ordered:
        start, end = end, end + tensors[name].nbytes
        kind, shape = _TYPES[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in ordered:
            file.write(tensors[name].contiguous().numpy().data)
