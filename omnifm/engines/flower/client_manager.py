"""The server's view of the hospitals: who is there, who went, who is asked for what, and what they answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import NamedTuple

from omnifm.engines.flower.membership import Membership
from omnifm.engines.flower.messages import ClientProperties, Reply
from omnifm.engines.flower.status_log import Events
from omnifm.engines.flower.transport import GridTransport, Node

Clock = Callable[[], float]


class ClientAnswer(NamedTuple):
    """What became of a request to a hospital: a reply, or none, for a ``reason``; if it was ``lost``, ask again."""

    client: str
    reply: Reply | None
    reason: str = ""
    lost: bool = False
    size: int = 0


@dataclass
class ConnectedClient:
    """One hospital: its node if it is there, or since when it is gone, and the message that it has not answered."""

    told: ClientProperties
    key: str
    node: Node | None
    _: KW_ONLY
    gone_at: float = 0.0
    message: str = ""


@dataclass
class ClientManager:
    """All hospitals by name, those that went too.

    ``introduce`` is the message that asks a node who it is; ``membership`` what the run has agreed on, once it has
    begun.
    """

    transport: GridTransport
    events: Events
    introduce: Callable[[], bytes]
    _: KW_ONLY
    membership: Membership | None = None
    clock: Clock = time.monotonic
    known: dict[str, ConnectedClient] = field(default_factory=dict)
    _asked: dict[str, Node] = field(default_factory=dict)
    _seen: dict[Node, str] = field(default_factory=dict)
    _late: dict[str, str] = field(default_factory=dict)
    _issued: int = 0

    def there(self, name: str) -> bool:
        """Tell whether a hospital is connected."""
        return name in self.known and self.known[name].node is not None

    def gone_for(self, name: str) -> float:
        """Return for how many seconds a hospital has been gone; infinity, if it never was there."""
        if name not in self.known:
            return float("inf")
        hospital = self.known[name]
        return 0.0 if hospital.node else self.clock() - hospital.gone_at

    @property
    def unmet(self) -> bool:
        """Whether a node that is connected has not said yet who it is."""
        return "asked" in self._seen.values()

    def busy(self, name: str) -> bool:
        """Tell whether a hospital still owes an answer."""
        return name in self.known and bool(self.known[name].message)

    def next_issue(self) -> int:
        """Return a number above all before it; it tells the time, so that it grows over a restart too."""
        self._issued = max(self._issued + 1, time.time_ns())
        return self._issued

    def begin(self, membership: Membership) -> Membership:
        """Go on with those who are in the run; the others that are there are told to be out of it."""
        self.membership = membership
        membership.write(self.events.folder)
        for name in self.known.keys() - set(membership.names):
            other = self.known.pop(name)
            if other.node is not None:
                self._unwelcome(name, other.node, membership.reject_reason(other.told, other.key))
        return membership

    def send(self, name: str, payload: bytes, group: str) -> None:
        """Ask a hospital that is there for work; what it still owes from before is not waited for any more."""
        hospital = self.known[name]
        assert hospital.node is not None
        self.give_up(name)
        hospital.message = self.transport.send(hospital.node.id, payload, group) or ""

    def give_up(self, name: str) -> None:
        """Wait no longer for what a hospital owes."""
        if name in self.known and (message := self.known[name].message):
            self._late[message] = name
            self.known[name].message = ""

    def turn(self) -> list[ClientAnswer]:
        """See who came and who went, and return the answers that have come."""
        answers = self._look()
        for arrival in self.transport.collect():
            if (node := self._asked.pop(arrival.message, None)) is not None:
                self._meet(node, arrival.payload, arrival.fault)
            elif (name := self._late.pop(arrival.message, None)) is not None:
                if not arrival.lost:
                    self.events.tell("late", name, "its answer came after the round had gone on; it is not counted")
            elif owner := [name for name, one in self.known.items() if one.message == arrival.message]:
                self.known[owner[0]].message = ""
                answers.append(self._answer(owner[0], arrival.payload, arrival.fault))
        return answers

    def _look(self) -> list[ClientAnswer]:
        nodes = set(self.transport.nodes())
        lost = []
        for name, hospital in self.known.items():
            if hospital.node is not None and hospital.node not in nodes:
                hospital.node, hospital.gone_at = None, self.clock()
                self.events.tell("gone", name, "its node is no longer connected")
                self.events.stand({name: {"there": False}})
                if hospital.message:
                    self.give_up(name)
                    lost.append(ClientAnswer(name, None, "it went away", lost=True))
        self._seen = {node: state for node, state in self._seen.items() if node in nodes}
        for node in nodes - self._seen.keys():
            if message := self.transport.send(node.id, self.introduce(), "hello"):
                self._seen[node] = "asked"
                self._asked[message] = node
        return lost

    def _meet(self, node: Node, payload: bytes | None, fault: str) -> None:
        """Hear who a node is; one that has gone meanwhile is not listened to."""
        if node not in self._seen:
            return
        if payload is None and not fault:
            self._seen.pop(node, None)  # to be asked again
            return
        try:
            reply = Reply.from_bytes(payload) if payload is not None else Reply("", "failed", fault)
        except ValueError as error:
            reply = Reply("", "failed", f"not understood: {error}")
        name = reply.client or f"node {node.id}"
        if reply.outcome != "done" or reply.introduction is None:
            self._unwelcome(name, node, reply.reason or "it did not introduce itself")
            return
        told = reply.introduction
        if told.stats.name != reply.client:
            self._unwelcome(name, node, "it goes by two names")
        elif node.name not in ("", name):
            self._unwelcome(name, node, f"its key is registered as that of {node.name}")
        elif self.there(name) and self.known[name].node != node:
            self._unwelcome(name, node, "another node is connected under this name")
        elif name in self.known and self.known[name].key != node.key:
            self._unwelcome(name, node, "another hospital took part under this name, with another key")
        elif self.membership and (reason := self.membership.reject_reason(told, node.key)):
            self._unwelcome(name, node, reason)
        else:
            self._welcome(name, node, told)

    def _welcome(self, name: str, node: Node, told: ClientProperties) -> None:
        back = name in self.known
        self._seen[node] = name
        self.known[name] = ConnectedClient(told, node.key, node)
        if self.membership:
            self.membership.welcome(told, node.key)
            self.membership.write(self.events.folder)
        about = {"train": told.stats.train, "validation": told.stats.validation, "test": told.stats.test}
        self.events.tell("back" if back else "there", name, f"{told.stats.train} training samples", **told.versions)
        self.events.stand({name: {"there": True, "group": told.stats.group, **about, **told.versions, "trouble": ""}})

    def _unwelcome(self, name: str, node: Node, reason: str) -> None:
        self._seen[node] = "unwelcome"
        self.events.tell("unwelcome", name, reason, node=str(node.id))
        if not self.there(name):  # else it is another that uses the name
            self.events.stand({name: {"there": True, "trouble": reason}})

    def _answer(self, name: str, payload: bytes | None, fault: str) -> ClientAnswer:
        if payload is None:
            return ClientAnswer(name, None, fault or "the message was lost", lost=not fault)
        try:
            reply = Reply.from_bytes(payload)
        except ValueError as error:
            return ClientAnswer(name, None, f"its answer is not understood: {error}")
        if reply.client != name:
            return ClientAnswer(name, None, f"it answers as {reply.client!r}")
        if reply.outcome != "done":
            return ClientAnswer(name, None, f"{reply.outcome}: {reply.reason}")
        return ClientAnswer(name, reply, size=len(payload))
