"""The Flower engine's rounds, whatever order clients, messages and the server come and go in."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from omnifm.config.experiment import make_experiment
from omnifm.core.records import Broadcast, Upload
from omnifm.data.client_stats import ClientStats
from omnifm.engines.flower import engine as module
from omnifm.engines.flower.client_manager import ClientManager
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.engine import TRIES, FlowerEngine, Job
from omnifm.engines.flower.membership import Membership
from omnifm.engines.flower.messages import ClientProperties, EvaluationResult, Reply, Request
from omnifm.engines.flower.set_aside import SetAside
from omnifm.engines.flower.transport import Node, Response
from omnifm.federation.loop import Messages, sample
from omnifm.tasks.registry import make_task
from omnifm.tasks.task import DataShape, Scores
from omnifm.utils.errors import DeploymentError

NAMES = ("CT", "MRI", "PET", "XR")
SAMPLES = dict(zip(NAMES, (10, 40, 20, 20), strict=True))
SHAPE = DataShape(1, (8, 8), ("well", "ill"))
EXPERIMENT = make_experiment(
    {
        "algorithm": "fedavg",
        "federation": {"rounds": 1000, "participation": 0.75, "evaluate": ["before_local_training"]},
    }
)
SETTINGS = DeploySettings(NAMES, min_answers=2, grace=50.0, deadline=100.0)
TROUBLED, KIND = 12, 20
"""For how many looks of a round there may be trouble, and in how many without any it must then end."""


class Killed(BaseException):
    """The server's process is gone, in the midst of a round."""


class FakeNode(Node):
    """One that stands at the same place in a set in every process."""

    def __hash__(self) -> int:
        return hash((self.id, int(self.since)))


@dataclass
class InFlight:
    """A message that is on its way, or worked on, or forgotten."""

    id: str
    client: str
    body: bytes


@dataclass
class FakeNetwork:
    """The clients, what is under way between them and the server, and the time."""

    now: float = 0.0
    broken: bool = False
    nodes: dict[str, Node] = field(default_factory=dict)
    impostor: Node | None = None
    in_flight: dict[str, InFlight] = field(default_factory=dict)
    arrived: list[Response] = field(default_factory=list)
    asked: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    introduced: dict[str, Node] = field(default_factory=dict)
    trouble: int = 0
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def connect(self, client: str) -> None:
        """Let a client connect, or connect anew."""
        self.nodes[client] = FakeNode(NAMES.index(client), f"key of {client}", str(next(self._ids)))

    def disconnect(self, client: str) -> None:
        self.nodes.pop(client, None)

    def send(self, node_id: int, body: bytes) -> str | None:
        if self.broken:
            return None
        client = NAMES[node_id] if node_id < len(NAMES) else "CT"
        request = Request.from_bytes(body)
        if request.broadcast is not None:
            assert node_id < len(NAMES), "an impostor is asked for work"
            assert request.state == self.state.get(client), "it is to go on from a state that does not count"
            self.asked.setdefault((client, request.broadcast.round), []).append(request.issued)
        message = InFlight(str(next(self._ids)), client, body)
        self.in_flight[message.id] = message
        node = self.impostor if node_id >= len(NAMES) else self.nodes.get(client)
        if node is None:
            self.lose(message)  # it went away just now
        elif request.broadcast is None:
            self.introduced[message.id] = node
        return message.id

    def answer(self, message: InFlight) -> None:
        """Let a client do what it was asked for, whether anybody still waits for it or not."""
        request, client = Request.from_bytes(message.body), message.client
        if request.broadcast is None:
            about = ClientProperties(
                ClientStats(client, client, SAMPLES[client], 1, 1),
                SHAPE,
                channels=1,
                axes=2,
                versions={},
            )
            reply = Reply(client, "done", introduction=about)
        else:
            notes = {"round": request.broadcast.round, "issued": request.issued}
            upload = Upload(client, SAMPLES[client], 0.0, {"w": torch.zeros(1)}, notes=notes)
            evaluated = tuple(EvaluationResult.of(*what, Scores({"accuracy": 0.5}, {})) for what in request.evaluations)
            state = f"{client} {request.issued}" if request.train else None
            reply = Reply(
                client,
                "done",
                state=state,
                evaluations=evaluated,
                upload=upload if request.train else None,
            )
        self._arrive(Response(message.id, reply.to_bytes()))

    def lose(self, message: InFlight) -> None:
        self.trouble += 1
        self._arrive(Response(message.id))

    def crash(self, message: InFlight) -> None:
        self.trouble += 1
        at_work = Request.from_bytes(message.body).broadcast is not None
        self._arrive(Response(message.id, fault="the app ended with an error" if at_work else ""))

    def _arrive(self, arrival: Response) -> None:
        del self.in_flight[arrival.message]
        self.arrived.append(arrival)


class FakeTransport:
    """What one server process sends, and what comes back for it."""

    def __init__(self, network: FakeNetwork) -> None:
        self._network, self._sent = network, set[str]()

    def nodes(self) -> list[Node]:
        return [*self._network.nodes.values(), *([self._network.impostor] if self._network.impostor else [])]

    def send(self, node: int, body: bytes, group: str) -> str | None:
        number = self._network.send(node, body)
        self._sent.add(number or "")
        return number

    def collect(self) -> Iterator[Response]:
        mine = [arrival for arrival in self._network.arrived if arrival.message in self._sent]
        self._network.arrived = [arrival for arrival in self._network.arrived if arrival not in mine]
        yield from mine


class QuietMembership(Membership):
    """One that is kept in memory."""

    def write(self, folder: Path) -> None:
        """Write nothing."""


class Watched(FlowerEngine):
    """The engine, which also notes what becomes of each client that is asked."""

    outcomes: ClassVar[list[tuple[list[str], list[str]]]] = []
    asked: Sequence[str] = ()

    def _run_jobs(
        self, broadcast: Broadcast, messages: Messages, jobs: Mapping[str, Job], need: int
    ) -> Iterator[tuple[str, Reply | None]]:
        self.asked, found = list(jobs), list[str]()
        for name, reply in super()._run_jobs(broadcast, messages, jobs, need):
            found.append(name)
            yield name, reply
        self.outcomes.append((list(jobs), found))
        self.asked = ()


class Rounds(RuleBasedStateMachine):
    """Rounds between which, and within which, anything may happen to clients, messages and the server."""

    @initialize()
    def start(self) -> None:
        self.network, self.counted, self.number = FakeNetwork(), set[tuple[str, int]](), 1
        for client in NAMES[:3]:
            self.network.connect(client)
        keys = {client: f"key of {client}" for client in NAMES}
        client_stats = {client: ClientStats(client, client, SAMPLES[client], 1, 1) for client in NAMES}
        self.membership = QuietMembership(
            run="run", names=NAMES, shape=SHAPE, channels=1, axes=2, keys=keys, client_stats=client_stats
        )
        self.folder = Path(tempfile.mkdtemp())
        self.restart_server()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule()
    def restart_server(self) -> None:
        """Begin in a new process, which knows what was counted and nothing of what is under way."""
        quiet: Any = {"log": lambda *a, **b: None, "update_status": lambda *a, **b: None}
        events: Any = SimpleNamespace(folder=self.folder, **quiet)
        transport: Any = FakeTransport(self.network)
        hello = Request("run", "", 0, {}).to_bytes()
        self.clients = ClientManager(
            transport, events, lambda: hello, membership=self.membership, clock=lambda: self.network.now
        )
        arm: Any = SimpleNamespace(
            experiment=EXPERIMENT,
            participants=NAMES,
            algorithm=SimpleNamespace(check=lambda upload, broadcast: None),
            task=make_task(EXPERIMENT.task, EXPERIMENT.sections[EXPERIMENT.task], SHAPE),
        )
        checkpoints: Any = SimpleNamespace(needed=set(self.network.state.items()))
        self.engine = Watched(
            "arm",
            arm,
            membership=self.membership,
            clients=self.clients,
            set_aside=SetAside(self.membership, events),
            checkpoints=checkpoints,
            settings=SETTINGS,
        )
        self.engine._digests = dict(self.network.state)

    @rule(client=st.sampled_from(NAMES))
    def connect(self, client: str) -> None:
        self.network.connect(client)

    @rule(client=st.sampled_from(NAMES))
    def leave(self, client: str) -> None:
        self.network.disconnect(client)

    @precondition(lambda self: self.network.impostor is None)
    @rule()
    def impostor_comes(self) -> None:
        self.network.impostor = FakeNode(99, "another key", "0")

    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        self._happen(data)
        self.clients.turn()

    @rule(data=st.data(), judge_first=st.booleans())
    def round(self, data: st.DataObject, judge_first: bool) -> None:
        self._looks, self.network.trouble, Watched.outcomes = 0, 0, []
        self.silent: str | None = None
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "time", SimpleNamespace(sleep=lambda _: self._look(data)))
                if judge_first:
                    evaluated = [
                        name
                        for name, _ in self.engine.evaluate(
                            self._broadcast, NAMES, "validation", "before_local_training"
                        )
                    ]
                    assert len(set(evaluated)) == len(evaluated)
                    assert len(evaluated) >= SETTINGS.min_answers
                    self.number += data.draw(st.integers(0, 9), label="another round") == 9
                self._looks = 0
                chosen = sample(NAMES, EXPERIMENT.federation.participation, EXPERIMENT.seed, self.number)
                uploads = list(self.engine.update(self._broadcast, chosen))
        except Killed:
            self.restart_server()
            return
        except DeploymentError:
            assert self.network.trouble, "the round has failed and nothing went wrong"
            self.restart_server()
            return
        for asked, found in Watched.outcomes:
            assert Counter(asked) == Counter(found), "each client that is asked has one outcome"
        self._count(uploads, chosen)
        self.number += 1

    @property
    def _broadcast(self) -> Broadcast:
        return Broadcast(self.number, {"w": torch.zeros(1)})

    def _count(self, uploads: Sequence[Upload], chosen: Sequence[str]) -> None:
        names = [upload.client for upload in uploads]
        assert set(names) <= set(chosen)
        assert len(names) >= SETTINGS.min_answers
        assert names == sorted(names, key=lambda name: (-SAMPLES[name], NAMES.index(name))), "not the engines' order"
        assert len(set(names)) == len(names), "a client is counted twice in a round"
        for upload in uploads:
            round_number, issued = upload.notes["round"], upload.notes["issued"]
            assert round_number == self.number, "an answer to another round is counted"
            assert issued == self.network.asked[upload.client, self.number][-1], "not the answer that is waited for"
            assert (upload.client, issued) not in self.counted, "an answer is counted twice"
            self.counted.add((upload.client, issued))
            self.network.state[upload.client] = f"{upload.client} {issued}"
        assert self.engine.states.digests == self.network.state
        assert not any(self.clients.busy(name) for name in NAMES), "an answer that is not counted is still waited for"

    def _look(self, data: st.DataObject) -> None:
        """Let time pass between two looks of the server: for a while with trouble, then without."""
        self._looks += 1
        if self._looks <= TROUBLED:
            self._happen(data)
            if data.draw(st.integers(0, 40), label="kill") == 40:
                raise Killed
            return
        assert self._looks <= TROUBLED + KIND, "the round does not end"
        network = self.network
        network.now, network.broken = network.now + 10.0, False
        if self._looks == TROUBLED + 1:
            network.impostor = None
            for client in [name for name in NAMES if name not in network.nodes]:
                network.connect(client)
            # One that is silent or away does not hold up the others, if none has failed and they are enough.
            enough = not network.trouble and len(self.engine.asked) > SETTINGS.min_answers
            self.silent = data.draw(st.sampled_from(self.engine.asked), label="silent") if enough else None
            if self.silent and data.draw(st.booleans(), label="away"):
                network.disconnect(self.silent)
        for message in list(network.in_flight.values()):
            if message.client != self.silent:
                network.answer(message)

    def _happen(self, data: st.DataObject) -> None:
        network = self.network
        network.now += data.draw(st.sampled_from([1.0, 1.0, 30.0, 60.0]), label="seconds")
        for _ in range(data.draw(st.integers(0, 3), label="events")):
            deeds = ["connect", "leave", "break", *(["answer", "answer", "lose", "crash"] if network.in_flight else [])]
            deed = data.draw(st.sampled_from(deeds), label="event")
            if deed == "break":
                network.broken = not network.broken
            elif deed in ("connect", "leave"):
                client = data.draw(st.sampled_from(NAMES), label="client")
                (network.connect if deed == "connect" else network.disconnect)(client)
            else:
                message = data.draw(st.sampled_from(sorted(network.in_flight, key=int)), label="message")
                getattr(network, deed)(network.in_flight[message])


Rounds.TestCase.settings = settings(max_examples=60, stateful_step_count=8, deadline=None)
TestRounds = Rounds.TestCase


def test_a_late_introduction_keeps_nobody_out() -> None:
    """A client connects anew before it has said who it is; then it answers both messages that ask it."""
    machine = Rounds()
    machine.start()
    machine.clients.turn()
    machine.network.connect("CT")
    for _ in range(3):
        machine.clients.turn()
        for message in list(machine.network.in_flight.values()):
            machine.network.answer(message)
    assert machine.clients.is_connected("CT")


def test_a_client_that_loses_every_message_is_not_asked_for_ever() -> None:
    machine = Rounds()
    machine.start()
    for _ in range(3):
        for message in list(machine.network.in_flight.values()):
            machine.network.answer(message)
        machine.clients.turn()

    def lose(_: float) -> None:
        machine.network.now += 1.0
        for message in list(machine.network.in_flight.values()):
            machine.network.lose(message) if message.client == "CT" else machine.network.answer(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", SimpleNamespace(sleep=lose))
        uploads = list(machine.engine.update(Broadcast(1, {}), NAMES[:3]))
    assert [upload.client for upload in uploads] == ["MRI", "PET"]
    assert len(machine.network.asked["CT", 1]) == TRIES
