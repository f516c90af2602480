"""A grid without a network: messages go straight to the client app, each hospital with its own client.toml."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tomli_w
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.supercore.task_identity import TaskIdentity

from omnifm.engines.flower.client_app import CONFIG_KEY, app


class FakeGrid:
    """Nodes by name. Time goes on by a second a look.

    ``fault`` says of a name and a message's group what becomes of it: "" (an answer), "gone", "crash", "never" or
    "spoil". ``registered`` is under which name the operator has registered a hospital's key, if under any.
    """

    def __init__(self, hospitals: Mapping[str, Path], client: ClientApp = app) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self.clock = 0.0
        self.starts: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], str] = lambda name, group: ""
        self.each_look: Callable[[], None] = lambda: None
        self.registered: dict[str, str] = {}
        self.answered: Callable[[str, str, Message], Message] = lambda name, group, answer: answer
        self._files, self._client = dict(hospitals), client
        self._ids = itertools.count(100)
        self._messages: dict[str, Message] = {}
        self._names: dict[int, str] = {}
        for name in hospitals:
            self.connect(name)

    def connect(self, name: str) -> None:
        self._names[next(self._ids)] = name

    def disconnect(self, name: str) -> None:
        self._names = {node: other for node, other in self._names.items() if other != name}

    @property
    def connected(self) -> set[str]:
        return set(self._names.values())

    def time(self) -> float:
        return self.clock

    def get_nodes(self) -> list[Any]:
        self.clock += 1.0
        self.each_look()
        return [
            SimpleNamespace(
                node_id=node,
                public_key=name.encode(),
                last_activated_at=str(node),
                name=self.registered.get(name, ""),
            )
            for node, name in self._names.items()
        ]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        found = []
        for message in messages:
            number = str(next(self._ids))
            message.metadata.__dict__["_message_id"] = number
            self._messages[number] = message
            found.append(number)
        return found

    def pull_messages(self, numbers: Iterable[str]) -> list[Message]:
        answers = []
        for number in numbers:
            message = self._messages[number]
            name = self._names.get(message.metadata.dst_node_id)
            what = "gone" if name is None else self.fault(name, message.metadata.group_id)
            if what == "never":
                continue
            del self._messages[number]
            if what in ("gone", "crash"):
                code = ErrorCode.NODE_UNAVAILABLE if what == "gone" else ErrorCode.CLIENT_APP_CRASHED
                answers.append(Message(Error(code, what), reply_to=message))
                continue
            assert name is not None
            self.starts.append((name, message.metadata.group_id))
            config: dict[str, Any] = {CONFIG_KEY: str(self._files[name]), "partition-id": list(self._files).index(name)}
            answer = self._client(message, Context(1, message.metadata.dst_node_id, config, RecordDict(), {}))
            if what == "spoil":
                answer.content.array_records["payload"]["body"].data = b"nothing"
            answers.append(self.answered(name, message.metadata.group_id, answer))
        return answers


def write_client_config(folder: Path, name: str, **changes: Any) -> Path:
    """Write a hospital's client.toml into a folder of its own."""
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    content = {
        "name": name,
        "policy": {"tasks": ["*"], "algorithms": ["*"], "min_cluster": 1, "minimum_patients": 1},
        **changes,
    }
    path = place / "client.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path
