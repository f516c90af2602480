"""The events of a deployed run as lines to read; Flower need not be installed where they are read."""

from __future__ import annotations

import json
from pathlib import Path

from omnifm.utils.printable import printable

EVENTS = "deploy.jsonl"


def last_events(run: Path, count: int) -> list[str]:
    """Return the last events, a line each; one that a crash cut short is left out."""
    path = run / EVENTS
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if count and path.exists() else []
    found = []
    for line in lines[-count - 1 :]:
        try:
            event = dict(json.loads(line))
        except (ValueError, TypeError, RecursionError):
            continue
        what = (event.get("client", ""), event.get("event", ""), event.get("text", ""))
        found.append(printable(f"{event.get('time', '')}  {': '.join(str(part) for part in what if part)}"))
    return found[-count:]
