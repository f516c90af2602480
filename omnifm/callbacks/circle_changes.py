"""Which clients have come together, or are left alone, after a round: in words, for those who watch a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omnifm.callbacks.events import ArmStart, RoundEvent
from omnifm.utils.words import joined

_MOST_NAMED = 12
"""So many names stand in a line; of more, only how many."""

ReportedCircles = Mapping[str, Sequence[str]] | Sequence[int]
"""As a round's report has them: the members of each circle by its number, or of many clients only the sizes."""


def circles_of(report: Mapping[str, Any]) -> ReportedCircles | None:
    """Return the circles in a round's report; None, if there are none, or an algorithm calls something else so."""
    found = report.get("circles")
    if isinstance(found, Mapping):
        sound = all(str(number).isdecimal() and isinstance(names, list) for number, names in found.items())
        return found if sound else None
    return found if isinstance(found, list) and all(isinstance(size, int) for size in found) else None


class CircleChanges:
    """Follows the circles that an algorithm reports from round to round."""

    def __init__(self) -> None:
        self._before: ReportedCircles | None = None
        self._clients: dict[str, None] = {}

    def restart(self, event: ArmStart) -> ReportedCircles | None:
        """Go on from a checkpoint, whose circles have been told; return them, if there are any."""
        server = event.checkpoint.server
        self._clients = {}
        self._before = circles_of(server.notes.get("report", {})) if server.round else None
        return self._before

    def after(self, event: RoundEvent) -> str:
        """Say in words what has changed in a round; nothing, if nothing has."""
        before, after = self._before, circles_of(event.report)
        self._before = after
        self._clients |= dict.fromkeys(event.clients)
        if isinstance(after, Mapping):
            return self._named(before if isinstance(before, Mapping) else {}, after)
        return _counted(after) if after is not None and sorted(after) != sorted(before or ()) else ""

    def _named(self, before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> str:
        formed = [names for number, names in after.items() if set(names) != set(before.get(number, ()))]
        texts = [f"{joined(names, _MOST_NAMED)} now learn together" for names in formed]
        known = dict.fromkeys(name for names in before.values() for name in names)
        if not known and formed:  # the first circles: who has not found one has never been in one
            known = self._clients
        left = [name for name in known if not any(name in names for names in after.values())]
        if left:
            texts.append(f"{joined(left, _MOST_NAMED)} {'is' if len(left) == 1 else 'are each'} alone")
        return "; ".join(texts)


def _counted(sizes: Sequence[int]) -> str:
    """Describe circles of which only the sizes are known."""
    if not sizes:
        return "all clients are alone"
    shown = joined(map(str, sorted(sizes, reverse=True)), _MOST_NAMED)
    return f"{len(sizes)} circle{'s' if len(sizes) > 1 else ''} of {shown} clients"
