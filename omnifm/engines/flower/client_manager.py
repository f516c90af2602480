"""The server's view of the hospitals: connections, open requests and answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import NamedTuple

from omnifm.engines.flower.issue_counter import IssueCounter
from omnifm.engines.flower.membership import Membership
from omnifm.engines.flower.messages import ClientProperties, Reply
from omnifm.engines.flower.reply_checks import InvalidReplyError, check_properties, read_reply
from omnifm.engines.flower.status_log import Events
from omnifm.engines.flower.transport import GridTransport, Node

Clock = Callable[[], float]


class ClientAnswer(NamedTuple):
    """The outcome of a request: a reply, or none for a ``reason``.

    One that was ``lost`` can be sent again; an ``invalid`` one came, and does not count.
    """

    client: str
    reply: Reply | None
    reason: str = ""
    lost: bool = False
    invalid: bool = False


@dataclass
class ConnectedClient:
    """One hospital: its node if connected, else when it left, and the message that it has not answered yet."""

    properties: ClientProperties
    key: str
    node: Node | None
    _: KW_ONLY
    gone_at: float = 0.0
    message: str = ""


@dataclass
class ClientManager:
    """All hospitals by name, connected or not.

    ``introduce`` makes the message that asks a node who it is; ``membership`` is set once the run has begun.
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
    _issued: IssueCounter | None = None

    def is_connected(self, name: str) -> bool:
        """Return whether a hospital is connected."""
        return name in self.known and self.known[name].node is not None

    def gone_for(self, name: str) -> float:
        """Return for how many seconds a hospital has been gone; infinity if it was never connected."""
        if name not in self.known:
            return float("inf")
        hospital = self.known[name]
        return 0.0 if hospital.node else self.clock() - hospital.gone_at

    @property
    def has_unidentified(self) -> bool:
        """Whether a connected node has not introduced itself yet."""
        return "asked" in self._seen.values()

    def busy(self, name: str) -> bool:
        """Return whether a hospital has an unanswered request."""
        return name in self.known and bool(self.known[name].message)

    def next_issue(self) -> int:
        """Return a number above all before it, also after a restart, whatever the clock says."""
        self._issued = self._issued or IssueCounter(self.events.folder)
        return self._issued.next()

    def begin(self, membership: Membership) -> Membership:
        """Begin with the members of the run; reject other hospitals that are connected, and those that do not fit."""
        self.membership = membership
        membership.write(self.events.folder)
        for name, other in list(self.known.items()):
            if reason := membership.reject_reason(other.properties, other.key):
                del self.known[name]
                if other.node is not None:
                    self._reject(name, other.node, reason)
        return membership

    def send(self, name: str, payload: bytes, group: str) -> None:
        """Send a request to a connected hospital; an earlier one is given up."""
        hospital = self.known[name]
        assert hospital.node is not None
        self.give_up(name)
        hospital.message = self.transport.send(hospital.node.id, payload, group) or ""

    def give_up(self, name: str) -> None:
        """Stop waiting for a hospital's answer."""
        if name in self.known and (message := self.known[name].message):
            self._late[message] = name
            self.known[name].message = ""

    def turn(self) -> list[ClientAnswer]:
        """Update the connections, and return the answers that have arrived."""
        answers = self._look()
        for arrival in self.transport.collect():
            if (node := self._asked.pop(arrival.message, None)) is not None:
                self._meet(node, arrival.payload, arrival.fault)
            elif (name := self._late.pop(arrival.message, None)) is not None:
                if not arrival.lost:
                    self.events.log("late", name, "its answer came after the round had ended and is not counted")
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
                self.events.log("gone", name, "its node is no longer connected")
                self.events.update_status({name: {"there": False}})
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
        """Take a node's introduction, unless it has gone meanwhile."""
        if node not in self._seen:
            return
        if payload is None and not fault:
            self._seen.pop(node, None)  # so that it is asked again
            return
        try:
            reply = read_reply(payload) if payload is not None else Reply("", "failed", fault)
            if reply.introduction:
                check_properties(reply.introduction)
        except InvalidReplyError as error:
            reply = Reply("", "failed", f"its introduction does not count: {error}")
        name = reply.client or f"node {node.id}"
        if reply.outcome != "done" or reply.introduction is None:
            self._reject(name, node, reply.reason or "it did not introduce itself")
            return
        properties = reply.introduction
        if properties.stats.name != reply.client:
            self._reject(name, node, "it goes by two names")
        elif node.name not in ("", name):
            self._reject(name, node, f"its key is registered as that of {node.name}")
        elif self.is_connected(name) and self.known[name].node != node:
            self._reject(name, node, "another node is connected under this name")
        elif name in self.known and self.known[name].key != node.key:
            self._reject(name, node, "another hospital took part under this name, with another key")
        elif self.membership and (reason := self.membership.reject_reason(properties, node.key)):
            self._reject(name, node, reason)
        else:
            self._admit(name, node, properties)

    def _admit(self, name: str, node: Node, properties: ClientProperties) -> None:
        back = name in self.known
        self._seen[node] = name
        self.known[name] = ConnectedClient(properties, node.key, node)
        if self.membership:
            self.membership.admit(properties, node.key)
            self.membership.write(self.events.folder)
        stats, versions = properties.stats, properties.versions
        about = {"group": stats.group, "train": stats.train, "validation": stats.validation, "test": stats.test}
        self.events.log("back" if back else "there", name, f"{stats.train} training samples", versions=versions)
        self.events.update_status({name: {**versions, "there": True, **about, "trouble": ""}})

    def _reject(self, name: str, node: Node, reason: str) -> None:
        self._seen[node] = "unwelcome"
        self.events.log("unwelcome", name, reason, node=str(node.id))
        if not self.is_connected(name):  # else it is another that uses the name
            self.events.update_status({name: {"there": True, "trouble": reason}})

    def _answer(self, name: str, payload: bytes | None, fault: str) -> ClientAnswer:
        if payload is None:
            return ClientAnswer(name, None, fault or "the message was lost", lost=not fault)
        try:
            reply = read_reply(payload)
        except InvalidReplyError as error:
            return ClientAnswer(name, None, f"its answer is not understood: {error}", invalid=True)
        if reply.client != name:
            return ClientAnswer(name, None, f"it answers as {reply.client!r}", invalid=True)
        if reply.outcome != "done":
            return ClientAnswer(name, None, f"{reply.outcome}: {reply.reason}"[:500])
        return ClientAnswer(name, reply)
