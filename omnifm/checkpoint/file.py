"""Checkpoints: tensors and JSON in one safetensors file that carries its own SHA-256."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from omnifm.core.tensors import digest
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import CheckpointError


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], plain: Any) -> None:
    """Write a checkpoint atomically: it is there as a whole or not at all.

    Raises:
        CheckpointError: the disk is full or not writable; older checkpoints are untouched.
    """
    text = json.dumps(plain)
    whole = {name: value.contiguous() for name, value in tensors.items()}
    data = save(whole, {"plain": text, "sha256": digest(whole, text)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {path} ({len(data) / 1e6:.1f} MB) cannot be written: {error.strerror}. What was written "
            f"before is intact: make room there and resume."
        ) from None


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read a checkpoint.

    Raises:
        CheckpointError: it is missing, damaged, or not a checkpoint.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        text, expected = _meta(file)
    if digest(tensors, text) != expected:
        raise CheckpointError(f"The checkpoint {path} is damaged: its SHA-256 does not match its contents.")
    try:
        return tensors, json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged: {error}.") from None


def read_plain(path: Path) -> Any:
    """Read what a checkpoint holds besides its tensors, which are not read.

    Raises:
        CheckpointError: it is missing, damaged, or not a checkpoint.
    """
    with _opened(path) as file:
        return json.loads(_meta(file)[0])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint {path}.") from None
    except (SafetensorError, KeyError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged: {error}.") from None


def _meta(file: Any) -> tuple[str, str | None]:
    meta = file.metadata() or {}
    return meta["plain"], meta.get("sha256")
