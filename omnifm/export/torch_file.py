"""A program as torch writes it: ``torch.export.load`` reads it without this library."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from omnifm.export.program import Program, exporters_silenced
from omnifm.utils.atomic_write import write_atomically

TORCH_FILE = "model.pt2"


def write_torch(program: Program, folder: Path, description: dict[str, Any]) -> Path:
    """Write a program as ``model.pt2``, its description as JSON in the extra file ``omnifm.json``."""
    path, written = folder / TORCH_FILE, io.BytesIO()
    with exporters_silenced():
        torch.export.save(program.exported, written, extra_files={"omnifm.json": json.dumps(description)})
    write_atomically(path, written.getvalue())
    return path
