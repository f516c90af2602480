"""The environment of Flower's own commands: no telemetry or update check, and the address of the SuperLink."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
"""What to add to their environment."""


def write_link(home: Path, name: str, link: Mapping[str, Any]) -> None:
    """Write into a ``FLWR_HOME`` how the SuperLink is reached; ``name`` is what commands call it."""
    settings = {"superlink": {"default": name, name: dict(link)}}
    (home / "config.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
