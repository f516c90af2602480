"""The log of a deployment for people: a line for each event, and the present status in one file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.printable import printable

_log = logging.getLogger("omnifm.deploy")


class Events:
    """``deploy.jsonl`` (all events) and ``status.json`` (the present status) in a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._status: dict[str, Any] = {"started": _now(), "hospitals": {}}

    def log(self, event: str, client: str = "", text: str = "", **more: Any) -> None:
        """Log an event, with the hospital's name where it is about one."""
        entry = {"time": _now(), "event": event, **({"client": client} if client else {}), **more}
        with (self.folder / "deploy.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({**entry, **({"text": text} if text else {})}) + "\n")
        level = logging.WARNING if event in _WARNINGS else logging.INFO
        _log.log(level, "%s", printable(": ".join(part for part in (client, event, text) if part)))

    def update_status(self, hospitals: Mapping[str, Mapping[str, Any]] | None = None, **more: Any) -> None:
        """Update the status file."""
        self._status |= more
        for name, about in (hospitals or {}).items():
            self._status["hospitals"].setdefault(name, {}).update(about)
        self._status["updated"] = _now()
        write_atomically(self.folder / "status.json", json.dumps(self._status, indent=1).encode())


_WARNINGS = ("gone", "lost", "refused", "failed", "rejected", "late", "missed", "waiting", "unwelcome", "set aside")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
