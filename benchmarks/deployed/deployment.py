"""A deployment in one process, a round at a time: the real engine of the server and the handler of the hospitals."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from PIL import Image

from omnifm.config.experiment import Plan, make_plan
from omnifm.config.toml import to_toml
from omnifm.core.checkpoint import Checkpoint
from omnifm.data.federated_dataset import load_dataset
from omnifm.data.subset import Subset
from omnifm.engines.flower.agreed_policy import agreed_policy
from omnifm.engines.flower.client_config import read_client_config
from omnifm.engines.flower.client_handler import ClientHandler
from omnifm.engines.flower.client_manager import ClientManager
from omnifm.engines.flower.config_exchange import public_config
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.engine import FlowerEngine
from omnifm.engines.flower.membership import agree
from omnifm.engines.flower.messages import Request
from omnifm.engines.flower.set_aside import SetAside
from omnifm.engines.flower.status_log import Events
from omnifm.engines.flower.transport import Node, Response
from omnifm.federation.loop import Federation

_MANY_ROUNDS, _TRAIN = 1000, 0.6
_SPLIT = {"kind": "institution", "validation": 0.2, "test": 0.2}


class Spent(NamedTuple):
    """Seconds of a processor, and on the clock."""

    cpu: float
    wall: float

    @classmethod
    def now(cls) -> Spent:
        """Look at both clocks."""
        return cls(time.process_time(), time.perf_counter())

    def since(self, start: Spent) -> Spent:
        """Return the difference."""
        return Spent(self.cpu - start.cpu, self.wall - start.wall)


class Hospitals:
    """A transport that hands each request to the hospital's handler, and notes what the answers have cost."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.names, self.spent = list(files), list[Spent]()
        self._handlers = [ClientHandler(read_client_config(path)) for path in files.values()]
        self._answers: list[Response] = []
        self._sent = 0

    def nodes(self) -> list[Node]:
        """Return a node for each hospital."""
        return [Node(number, f"key of {name}", "0") for number, name in enumerate(self.names)]

    def send(self, node: int, payload: bytes, group: str) -> str:
        """Answer at once."""
        start = Spent.now()
        answer = self._handlers[node].answer(bytes(payload))
        self.spent.append(Spent.now().since(start))
        self._sent += 1
        self._answers.append(Response(str(self._sent), answer))
        return str(self._sent)

    def collect(self) -> list[Response]:
        """Return the answers."""
        answers, self._answers = self._answers, []
        return answers


class Continued(FlowerEngine):
    """An engine that goes on where it was: a round has been trained along with the validation before it."""

    def restore(self, states: Any) -> None:
        """Keep the states."""


@dataclass
class Round:
    """What a round has cost: at one hospital in the mean, and at the server."""

    hospital: Spent
    server: Spent

    @property
    def whole(self) -> Spent:
        """Both."""
        return Spent(self.hospital.cpu + self.server.cpu, self.hospital.wall + self.server.wall)


class Deployment:
    """A server and its hospitals, a round at a time."""

    def __init__(self, plan: Plan, files: dict[str, Path], folder: Path) -> None:
        (name, experiment), settings = next(iter(plan.arms.items())), DeploySettings(tuple(files), poll=1e-6)
        self._transport, events = Hospitals(files), Events(folder)
        clients = ClientManager(
            self._transport,  # type: ignore[arg-type]
            events,
            lambda: Request("", name, 0, public_config(experiment)).to_bytes(),
        )
        for _ in range(2):
            clients.turn()
        known = {one: (clients.known[one].properties, clients.known[one].key) for one in files}
        membership = clients.begin(agree(known, settings))
        arm = membership.arm(experiment, None)
        aside = SetAside(membership, events)
        self._engine = Continued(
            name,
            arm,
            membership=membership,
            clients=clients,
            checkpoints=SimpleNamespace(needed=set()),  # type: ignore[arg-type]
            settings=settings,
            set_aside=aside,
        )
        self.checkpoint: Checkpoint = arm.start()
        self._federation = Federation(
            arm.algorithm,
            self._engine,
            participants=list(files),
            evaluated=list(files),
            settings=experiment.federation,
            seed=experiment.seed,
            metric="accuracy",
            callbacks=[aside],
            checks=experiment.checks,
        )

    def round(self) -> Round:
        """Take one more round."""
        self._transport.spent.clear()
        start, federation = Spent.now(), self._federation
        federation.settings = replace(federation.settings, rounds=self.checkpoint.server.round + 1)
        self.checkpoint = federation.run(self.checkpoint)
        whole, answers = Spent.now().since(start), self._transport.spent
        total = Spent(*(sum(column) for column in zip(*answers, strict=True)))
        one = Spent(*(value / len(self._transport.names) for value in total))
        return Round(one, whole.since(total))


def plan_of(algorithm: str, given: argparse.Namespace) -> Plan:
    """Return the experiment: the default network, and so many training images a hospital."""
    patients = round(given.images / _TRAIN)
    source = {"kind": "phantom", "modalities": ["FLAIR"], "hospitals": given.hospitals, "patients": patients}
    federation = {"rounds": _MANY_ROUNDS, "evaluate_every": 1, "evaluate": ["before_local_training"]}
    data = {"size": given.size, "cache": given.cache, "sources": [source]}
    return make_plan({"algorithm": algorithm, "data": data, "partition": _SPLIT, "federation": federation})


def written(plan: Plan, folder: Path) -> dict[str, Path]:
    """Write the images and the file of each hospital, with the policy that ``omnifm deploy init`` writes."""
    experiment = next(iter(plan.arms.values()))
    dataset, files = load_dataset(experiment.data, experiment.partition, 0), dict[str, Path]()
    for client in dataset.clients:
        place = folder / client.name
        whole = Subset.joined([client.train, client.validation, client.test])
        for number, (image, target) in enumerate(zip(whole.column("image"), whole.column("target"), strict=True)):
            path = place / "data" / dataset.label_names[int(target.argmax())] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image[0] * 255).round().to(torch.uint8).numpy()).save(path)
        content = {
            "name": client.name,
            "data": {"root": str(place), "sources": [{"kind": "image_folder", "folder": "data", "modality": "MR"}]},
            "partition": _SPLIT,
            "policy": asdict(agreed_policy(plan)),
        }
        files[client.name] = place / "client.toml"
        files[client.name].write_text(to_toml(content), encoding="utf-8")
    return files
