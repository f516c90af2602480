"""Checkpoints: tensors and JSON in one safetensors file that carries its own SHA-256."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from omnifm.errors import CheckpointError
from omnifm.files import write_atomically
from omnifm.interrupts import uninterrupted

KEEP = 2
_log = logging.getLogger("omnifm")


def digest(tensors: Mapping[str, Tensor], plain: str = "") -> str:
    """Return the SHA-256 of tensors, with their names, types and shapes, and of a text."""
    total = hashlib.sha256(plain.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        total.update(value.numpy().tobytes())
    return total.hexdigest()


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], plain: Any) -> None:
    """Write a checkpoint atomically; Ctrl-C waits until it is written.

    Raises:
        CheckpointError: the disk is full or not writable; older checkpoints are untouched.
    """
    text = json.dumps(plain)
    data = save(dict(tensors), {"plain": text, "sha256": digest(tensors, text)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with uninterrupted():
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
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            meta = file.metadata() or {}
        text = meta["plain"]
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint {path}.") from None
    except (SafetensorError, KeyError, OSError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged: {error}.") from None
    if digest(tensors, text) != meta.get("sha256"):
        raise CheckpointError(f"The checkpoint {path} is damaged: its SHA-256 does not match its contents.")
    return tensors, json.loads(text)


class CheckpointFolder:
    """The checkpoints of the last rounds, ``round-NNNNNN.safetensors``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, round_number: int, tensors: Mapping[str, Tensor], plain: Any) -> None:
        """Write a round's checkpoint and drop all but the last ``KEEP``."""
        write_checkpoint(self.folder / f"round-{round_number:06d}.safetensors", tensors, plain)
        for old in self._files()[KEEP:]:
            old.unlink(missing_ok=True)

    def read_latest(self) -> tuple[dict[str, Tensor], Any] | None:
        """Return the newest readable checkpoint, or None where there is none yet.

        A damaged one is passed over, with a warning, for the one before it.

        Raises:
            CheckpointError: there are checkpoints, but all are damaged.
        """
        files = self._files()
        for path in files:
            try:
                return read_checkpoint(path)
            except CheckpointError as error:
                _log.warning("%s Going back to the one before it.", error)
        if files:
            raise CheckpointError(f"All checkpoints in {self.folder} are damaged. Start the run anew.")
        return None

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("round-*.safetensors"), reverse=True)
