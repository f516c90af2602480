"""Flower's own simulation: the server app here, the hospitals on a Ray cluster, all from one experiment file.

The hospitals' data are those of the experiment, and the client app is the real one: what differs from a deployment is
only who carries the letters. The run's folder and the data must be readable on every machine of the cluster.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tomli_w
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from omnifm.checkpoint.client_store import file_name
from omnifm.config.experiment import Plan
from omnifm.data.federated_dataset import load_dataset
from omnifm.engines.flower.client_app import answered
from omnifm.engines.flower.client_config import read_client_config
from omnifm.engines.flower.deploy_settings import deploy_settings
from omnifm.engines.flower.flwr_env import QUIET
from omnifm.engines.flower.server import run_server
from omnifm.engines.flower.transport import GridTransport
from omnifm.runs.run_arm import Watcher
from omnifm.utils.errors import DeploymentError

_LIFE = 7 * 24 * 3600.0
_POLL = 0.05


def simulate(given: Plan | None, folder: Path, resume: bool, workers: int, watch: Watcher) -> None:
    """Play a run, or go on with it, by Flower's simulation with so many clients at a time.

    Raises:
        OmniFMError: what must be mended before it can go on, in words.
    """
    if importlib.util.find_spec("ray") is None:
        raise DeploymentError("Flower's simulation needs Ray: pip install 'flwr[simulation]'.")
    os.environ |= {**QUIET, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    from flwr.simulation import run_simulation

    plan = given or resume(folder, None)
    files = _write_client_configs(plan, folder)
    settings = replace(deploy_settings(plan.document), hospitals=tuple(files), wait_for=0, poll=_POLL)
    errors: list[Exception] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            run_server(given, folder, resume, lambda told: GridTransport(grid, told.max_bytes, _LIFE), watch, settings)
        except Exception as error:  # told by whoever called, and not by Flower
            errors.append(error)

    resources: dict[str, Any] = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"num_cpus": workers},
    }
    logging.getLogger("flwr").setLevel(logging.ERROR)  # its warning is that users should call `flwr run`
    run_simulation(server, _client_app(list(files.values())), len(files), backend_config=resources)
    if errors:
        raise errors[0]


def _client_app(files: Sequence[Path]) -> ClientApp:
    """Return the app of all hospitals: each finds its file by the number of its node."""
    app = ClientApp()

    @app.query()
    def answer(message: Message, context: Context) -> Message:
        return answered(message, read_client_config(files[int(context.node_config["partition-id"])]))

    return app


def _write_client_configs(plan: Plan, folder: Path) -> dict[str, Path]:
    """Write a ``client.toml`` for each hospital of the experiment, below the run's folder."""
    first = next(iter(plan.arms.values()))
    dataset = load_dataset(first.data, first.partition, first.seed)
    files = {}
    for client in dataset.clients:
        place = (folder / "hospitals" / file_name(client.name)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        data = {
            "root": str(Path(first.data.root).expanduser().absolute()),
            "cache": first.data.cache and str(Path(first.data.cache).expanduser().absolute()),
            "client": client.name,
            "sources": [asdict(source) for source in first.data.sources],
        }
        content = {
            "name": client.name,
            "weights": str((folder / "init").absolute()),
            "data": data,
            "partition": asdict(first.partition),
            "permits": {"tasks": ["*"], "algorithms": ["*"], "minimum_samples": 1, "answer_patients": 1},
        }
        files[client.name] = place / "client.toml"
        files[client.name].write_text(tomli_w.dumps(content), encoding="utf-8")
    return files
