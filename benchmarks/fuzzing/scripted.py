"""A deployed server whose hospitals answer from a script: the real engine, messages and checks, without a network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from omnifm.config.experiment import Experiment, make_experiment
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import Broadcast, ClientState, Upload
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import ClientData, Subset
from omnifm.engines.flower.client_manager import ClientManager
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.engine import FlowerEngine
from omnifm.engines.flower.membership import Membership
from omnifm.engines.flower.messages import ClientProperties, EvaluationResult, Reply, Request
from omnifm.engines.flower.set_aside import SetAside
from omnifm.engines.flower.transport import Node, Response
from omnifm.federation.loop import Federation
from omnifm.runs.arm import Arm, make_arm
from omnifm.tasks.task import Scores

NAMES = ("CT", "MRI", "PET")
LIAR = "CT"
CLASSES = ("well", "ill")
Mutate = Callable[[bytes], bytes]


def small_arm(algorithm: str, base: str = "fedavg") -> Arm:
    """Build an arm of three hospitals with 12 images of noise each, and the smallest network."""
    document = {
        "algorithm": algorithm,
        "federation": {"rounds": 2, "evaluate_every": 1, "evaluate": ["before_local_training"]},
        "training": {"batch_size": 6},
        "adapter": {"grid": 7, "token_dim": 8, "neighbours": 3},
        "bank": {"prototypes": 2},
        "classification": {"network": "compact", "width": 8},
        **({"omnifm": {"base": base}} if algorithm == "omnifm" else {}),
    }
    clients = tuple(ClientData(name, name, *(_noise(12, place) for _ in range(3))) for place, name in enumerate(NAMES))
    return make_arm(make_experiment(document), FederatedDataset(clients, CLASSES))


def _noise(count: int, seed: int) -> Subset:
    source = torch.Generator().manual_seed(seed)
    target = torch.zeros(count, len(CLASSES), dtype=torch.uint8)
    target[torch.arange(count), torch.arange(count) % len(CLASSES)] = 1
    fields = {
        "image": torch.rand(count, 1, 16, 16, generator=source),
        "target": target,
        "allowed": torch.ones(count, len(CLASSES), dtype=torch.bool),
        "exclusive": torch.ones(count, dtype=torch.bool),
    }
    return Subset(fields, tuple(map(str, range(count))))


class QuietMembership(Membership):
    """One that is kept in memory."""

    def write(self, folder: Path) -> None:
        """Write nothing."""


@dataclass
class Log:
    """The events of one trial; ``folder`` is for the server's counter."""

    folder: Path
    events: list[tuple[str, str, str]] = field(default_factory=list)

    def log(self, event: str, client: str = "", text: str = "", **more: Any) -> None:
        """Keep an event."""
        self.events.append((event, client, text))

    def update_status(self, *about: Any, **more: Any) -> None:
        """Keep nothing."""


class Scripted:
    """A transport that answers every request from a script.

    ``mutate`` changes one answer of one hospital: to a request for training, if ``trained``, or for evaluation.
    """

    def __init__(self, arm: Arm, states: dict[str, ClientState], mutate: Mutate, trained: bool) -> None:
        self._arm, self._states, self._mutate, self._trained = arm, states, mutate, trained
        self._answers: list[Response] = []
        self._ids = itertools.count(1)
        self.uploads: dict[str, Upload] = {}

    def nodes(self) -> list[Node]:
        """Return a node for each hospital."""
        return [Node(number, f"key of {name}", "0") for number, name in enumerate(NAMES)]

    def send(self, node: int, payload: bytes, group: str) -> str:
        """Answer at once."""
        request, name, message = Request.from_bytes(payload), NAMES[node], str(next(self._ids))
        answer = self._introduced(name) if request.broadcast is None else self._worked(name, request)
        data = answer.to_bytes()
        if name == LIAR and request.broadcast is not None and request.train == self._trained:
            data = self._mutate(data)
        self._answers.append(Response(message, data))
        return message

    def collect(self) -> Iterator[Response]:
        """Yield the answers."""
        answers, self._answers = self._answers, []
        yield from answers

    def _introduced(self, name: str) -> Reply:
        stats = next(one for one in self._arm.data_spec.client_stats if one.name == name)
        spec = self._arm.data_spec
        about = ClientProperties(stats, spec.shape, channels=spec.channels, axes=spec.axes, versions={})
        return Reply(name, "done", introduction=about)

    def _worked(self, name: str, request: Request) -> Reply:
        received = request.received
        assert received is not None
        if request.train and name not in self.uploads:
            self.uploads[name] = self._arm.runtime.update(received, name, self._states.get(name, ClientState()))[0]
        scores = Scores({"accuracy": 0.5, "macro_f1": 0.4, "loss": 0.7}, {"confusion": torch.ones(2, 2).long().numpy()})
        return Reply(
            name,
            "done",
            state="0" * 64 if request.train else None,
            evaluations=tuple(EvaluationResult.of(*what, scores) for what in request.evaluations),
            seconds={"work": 0.1},
            upload=self.uploads[name] if request.train else None,
        )


@dataclass
class Trial:
    """A round of a deployed federation from a checkpoint on; ``honest`` are the uploads, made once."""

    arm: Arm
    start: Checkpoint
    states: dict[str, ClientState]
    folder: Path
    honest: dict[str, Upload] = field(default_factory=dict)

    def run(self, mutate: Mutate, trained: bool = True) -> tuple[Checkpoint, Log]:
        """Run the round with its evaluation; one hospital's reply is changed."""
        log: Any = Log(self.folder)
        transport: Any = Scripted(self.arm, self.states, mutate, trained)
        transport.uploads = self.honest
        spec, stats = self.arm.data_spec, {one.name: one for one in self.arm.data_spec.client_stats}
        keys = {name: f"key of {name}" for name in NAMES}
        membership = QuietMembership(
            run="0" * 32,
            names=NAMES,
            shape=spec.shape,
            channels=spec.channels,
            axes=spec.axes,
            keys=keys,
            client_stats=stats,
        )
        clients = ClientManager(transport, log, lambda: Request("", "", 0, {}).to_bytes(), membership=membership)
        clients.turn()
        settings = DeploySettings(NAMES, min_answers=2, poll=1e-6)
        checkpoints: Any = SimpleNamespace(needed=set())
        engine = FlowerEngine(
            "arm",
            self.arm,
            membership=membership,
            clients=clients,
            checkpoints=checkpoints,
            settings=settings,
            set_aside=SetAside(membership, log),
        )
        return self._federation(engine, [engine.set_aside]).run(self.start), log

    def _federation(self, engine: Any, callbacks: list[Any]) -> Federation:
        experiment: Experiment = self.arm.experiment
        return Federation(
            self.arm.algorithm,
            engine,
            participants=NAMES,
            evaluated=NAMES,
            settings=experiment.federation.__class__(
                rounds=self.start.server.round + 1, evaluate_every=1, evaluate=("before_local_training",)
            ),
            seed=0,
            metric="accuracy",
            callbacks=callbacks,
            checks=experiment.checks,
        )


def trials(algorithm: str, base: str, folder: Path) -> list[Trial]:
    """Return a trial of the first round, and one of the second, with a bank and the clients' states."""
    arm = small_arm(algorithm, base)
    first = Trial(arm, arm.start(), {}, folder)
    after, _ = first.run(lambda reply: reply)
    states = {}
    broadcast: Broadcast = arm.algorithm.broadcast(first.start.server)
    for name in NAMES:
        states[name] = arm.runtime.update(broadcast, name, ClientState())[1]
    return [first, Trial(arm, Checkpoint(after.server, {}, {}, after.norms), states, folder)]
