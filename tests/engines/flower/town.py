"""A town of hospitals with data, whose experiment the server runs, over messages and in one process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_grid import FakeGrid, write_client_config
from small_run import document, hashes

from omnifm.config.experiment import Plan, make_plan
from omnifm.core.records import Broadcast
from omnifm.engines.flower import client_manager, server
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.transport import GridTransport
from omnifm.engines.in_process import InProcess
from omnifm.federation.loop import NO_MESSAGES, Messages
from omnifm.runs import run as runs
from omnifm.runs.backend import LocalBackend

NAMES = ("CT", "MRI", "PET")
FOLDERS = dict(zip("abc", NAMES, strict=True))


@dataclass
class Town:
    """Hospitals with data, and an experiment in which all of them take part."""

    root: Path
    sources: list[dict[str, Any]]

    def plan(self, *arms: str, **changes: Any) -> Plan:
        content = document(self.root / "data", self.sources, *arms)
        content["federation"] |= {"rounds": 3, "evaluate_every": 1, "evaluate": ["before_local_training"]}
        content["deploy"] = {"hospitals": list(NAMES), "poll": 0.001, **changes.pop("deploy", {})}
        for key, value in changes.items():
            content[key] = {**content.get(key, {}), **value}
        return make_plan(content)

    def grid(self, folder: Path, **changes: Any) -> FakeGrid:
        """Return a grid of hospitals that keep their states in a folder; ``changes`` are by hospital."""
        return FakeGrid(
            {
                source["modality"]: write_client_config(
                    folder,
                    source["modality"],
                    **{
                        "data": {"root": str(self.root / "data"), "sources": [source]},
                        **changes.get(source["modality"], {}),
                    },
                )
                for source in self.sources
            }
        )


def server_run(
    plan: Plan | None, grid: FakeGrid, out: Path, resume: bool = False, readmit: Sequence[str] = ()
) -> dict[str, str]:
    def make_transport(settings: DeploySettings) -> GridTransport:
        return GridTransport(grid, settings.max_bytes, 100.0)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "ClientManager", partial(client_manager.ClientManager, clock=grid.time))
        server.run_server(plan, out, resume, make_transport, readmit)
    return hashes(out)


class Missing(InProcess):
    """Some hospitals miss some rounds."""

    missed: frozenset[tuple[str, int]] = frozenset()

    def update(self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES) -> Any:
        there = [name for name in clients if (name, broadcast.round) not in self.missed]
        return super().update(broadcast, there, messages)


class Here(LocalBackend):
    def __init__(self, missed: Sequence[tuple[str, int]] = ()) -> None:
        super().__init__()
        self.missed = frozenset(missed)

    def engine(self, name: str, arm: Any, checkpoints: Any) -> InProcess:
        engine = Missing(arm.runtime, 1, checkpoints.states)
        engine.missed = self.missed
        return engine


def here_played(plan: Plan, out: Path, missed: Sequence[tuple[str, int]] = ()) -> dict[str, str]:
    runs.execute(runs.create(out, plan), out, Here(missed))
    return hashes(out)


def events(out: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in (out / "deploy.jsonl").read_text().splitlines()]
    return [(line["event"], line.get("client", "")) for line in lines]
