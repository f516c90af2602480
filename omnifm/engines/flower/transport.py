"""Messages over Flower: packed into its records, sent over its grid, each with its answer or none."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import NamedTuple

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from omnifm.engines.flower.messages import MESSAGE_FORMAT

KIND = "query"
"""The kind of all messages; the payload says what is requested."""

_ABOUT, _PAYLOAD, _BODY, _TYPE = "about", "payload", "body", "omnifm.payload"
_APP_FAILED = {
    ErrorCode.LOAD_CLIENT_APP_EXCEPTION: "the app cannot be loaded there",
    ErrorCode.CLIENT_APP_RAISED_EXCEPTION: "the app ended with an error",
    ErrorCode.MOD_FAILED_PRECONDITION: "the app ended with an error",
    ErrorCode.INVALID_FAB: "the app is not accepted there",
}


def to_records(payload: bytes) -> RecordDict:
    """Put a payload into an array, and next to it the versions, which are checked before it is read."""
    about = ConfigRecord({"format": MESSAGE_FORMAT, "omnifm": version("omnifm")})
    array = Array(dtype="uint8", shape=(len(payload),), stype=_TYPE, data=payload)
    return RecordDict({_ABOUT: about, _PAYLOAD: ArrayRecord({_BODY: array})})


def from_records(content: RecordDict, limit: int) -> bytes:
    """Undo :func:`to_records`.

    Raises:
        ValueError: there is none, it is of another format or version, or it has more than ``limit`` bytes; says so.
    """
    try:
        about, array = content.config_records[_ABOUT], content.array_records[_PAYLOAD][_BODY]
        form, other = about["format"], about["omnifm"]
    except KeyError:
        raise ValueError("the message is none of OmniFM's") from None
    own = version("omnifm")
    if form != MESSAGE_FORMAT or other != own:
        raise ValueError(f"OmniFM {other!r} (message format {form!r}) cannot talk to OmniFM {own!r} ({MESSAGE_FORMAT})")
    if len(array.data) > limit:
        raise ValueError(f"a message of {len(array.data) / 1e6:.1f} MB is larger than the {limit / 1e6:g} MB allowed")
    return bytes(array.data)


class Node(NamedTuple):
    """A node that is connected.

    ``since`` changes when it reconnects; ``key`` is its public key, if it has one; ``name`` is that under which the
    operator has registered the key, if any.
    """

    id: int
    key: str
    since: str
    name: str = ""


class Response(NamedTuple):
    """What came for a message: a ``payload``; or a ``fault``; or neither, if the message or its answer was ``lost``."""

    message: str
    payload: bytes | None = None
    fault: str = ""

    @property
    def lost(self) -> bool:
        """Whether it can be sent again."""
        return self.payload is None and not self.fault


class GridTransport:
    """Sends messages and collects the answers; ``limit`` is the largest in bytes, ``life`` in seconds."""

    def __init__(self, grid: Grid, limit: int, life: float) -> None:
        self._grid, self._limit, self._life = grid, limit, life
        self._out: set[str] = set()

    def nodes(self) -> list[Node]:
        """Return the nodes that are connected."""
        return [Node(n.node_id, n.public_key.hex(), n.last_activated_at, n.name) for n in self._grid.get_nodes()]

    def send(self, node: int, payload: bytes, group: str) -> str | None:
        """Send a payload; return the message's id, or None if it could not be sent now."""
        message = Message(to_records(payload), dst_node_id=node, message_type=KIND, ttl=self._life, group_id=group)
        numbers: list[str | None] = list(self._grid.push_messages([message]))
        number = numbers[0] if numbers else None
        if number:
            self._out.add(number)
        return number

    def collect(self) -> Iterator[Response]:
        """Yield what has come since."""
        if not self._out:
            return
        for message in self._grid.pull_messages(list(self._out)):
            number = message.metadata.reply_to_message_id
            self._out.discard(number)
            yield self._arrival(number, message)

    def _arrival(self, number: str, message: Message) -> Response:
        if message.has_error():
            fault = _APP_FAILED.get(message.error.code, "")
            return Response(number, fault=f"{fault}: {message.error.reason}" if fault else "")
        try:
            return Response(number, from_records(message.content, self._limit))
        except ValueError as error:
            return Response(number, fault=str(error))
