"""Writing the files of a deployment: templates, and secrets that only their owner can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).with_name("templates")
SECRET, OPEN, PROGRAM = 0o600, 0o644, 0o755


def render_template(template: str, **matter: Any) -> str:
    """Fill in a template of this package."""
    environment = Environment(  # nosec B701  # scripts and units, in which HTML's escapes would be errors
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**matter)


def write(path: Path, content: str | bytes, mode: int = OPEN) -> None:
    """Write a new file, whose mode is right from its first byte on; folders are made.

    Raises:
        FileExistsError: there is one already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)  # whatever the umask
        file.write(content.encode() if isinstance(content, str) else content)
