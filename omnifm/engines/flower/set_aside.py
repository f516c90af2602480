"""Hospitals whose replies did not count several times in a row: they are set aside until the operator readmits them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import RoundEvent
from omnifm.engines.flower.membership import Membership
from omnifm.engines.flower.status_log import Events

STRIKES = 3
"""So many replies in a row that do not count set a hospital aside."""


class SetAside(Callback):
    """Counts replies that do not count; who is set aside is stored with the membership.

    Args:
        membership: of the run.
        events: where it is logged.
        readmitted: hospitals that the operator admits again.
    """

    def __init__(self, membership: Membership, events: Events, readmitted: Iterable[str] = ()) -> None:
        self._membership, self._events = membership, events
        self._strikes: Counter[str] = Counter()
        for name in membership.set_aside & {*readmitted}:
            membership.set_aside.discard(name)
            events.log("readmitted", name)
        membership.write(events.folder)

    def __contains__(self, client: str) -> bool:
        return client in self._membership.set_aside

    def reject(self, client: str, reason: str, round_number: int) -> None:
        """Log that a reply does not count, and set the hospital aside after the third in a row."""
        self._events.log("rejected", client, reason, round=round_number)
        self._strikes[client] += 1
        if self._strikes[client] >= STRIKES and client not in self:
            self._membership.set_aside.add(client)
            self._membership.write(self._events.folder)
            text = f"{STRIKES} of its replies in a row did not count; resume with --readmit to admit it again"
            self._events.log("set aside", client, text)
            self._events.update_status({client: {"trouble": f"set aside: {reason}"}})

    def on_round_end(self, event: RoundEvent) -> None:
        """Count the uploads that were out of bounds; start again with those that counted."""
        for client, reason in event.rejected.items():
            self.reject(client, reason, event.round)
        if event.refused:
            self._events.log("refused", text=event.refused, arm=event.arm.name, round=event.round)
        self.counted(event.clients)

    def counted(self, clients: Iterable[str]) -> None:
        """Start again with hospitals whose uploads have counted."""
        for client in clients:
            del self._strikes[client]
