"""A hospital, and a server that may ask it for what it likes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_grid import write_client_config
from small_run import document, write_images

from omnifm.config.experiment import make_plan
from omnifm.core.records import Broadcast
from omnifm.engines.flower.client_config import ClientConfig, read_client_config
from omnifm.engines.flower.client_handler import ClientHandler
from omnifm.engines.flower.config_exchange import public_config
from omnifm.engines.flower.messages import ClientProperties, Reply, Request
from omnifm.runs.arm import build_arm

RUN = "0" * 32


class Visit:
    """A hospital and a server that may ask it for what it likes."""

    def __init__(self, folder: Path, algorithm: str = "omnifm", **policy: Any) -> None:
        sources = write_images(folder / "data", {"a": "CT"})
        self.experiment = make_plan(document(folder / "data", sources, algorithm)).arms[algorithm]
        self.folder = folder
        allowed = {"tasks": ["*"], "algorithms": ["*"], "min_cluster": 1, "minimum_patients": 1, **policy}
        data = {"root": str(folder / "data"), "sources": sources}
        self.hospital: ClientConfig = read_client_config(write_client_config(folder, "CT", data=data, policy=allowed))
        self.issued = 0
        self.told: ClientProperties | None = None

    def ask(self, **changes: Any) -> Reply:
        self.issued += 1
        request = replace(Request(RUN, "arm", self.issued, public_config(self.experiment)), **changes)
        return Reply.from_bytes(ClientHandler(self.hospital).answer(request.to_bytes()))

    def broadcast(self, number: int = 1) -> Broadcast:
        introduction = self.ask().introduction
        assert introduction is not None
        arm = build_arm(self.experiment, introduction.data_spec)
        return replace(arm.algorithm.broadcast(arm.start().server), round=number)

    def train(self, number: int = 1, **changes: Any) -> Reply:
        return self.ask(broadcast=self.broadcast(number), train=True, **changes)

    @property
    def audit_log(self) -> list[dict[str, Any]]:
        lines = (self.hospital.state_folder / "audit.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines if line]
