"""Flower's own simulation: the server app here, the hospitals on a Ray cluster, all from one experiment file.

The hospitals' data are those of the experiment, and the client app is the real one: what differs from a deployment is
only the transport differs. The run's folder and the data must be readable on every machine of the cluster.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Any, cast

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from omnifm.callbacks.callback import Callback
from omnifm.checkpoint.client_store import file_name
from omnifm.config.experiment import Plan
from omnifm.config.toml import to_toml
from omnifm.data.federated_dataset import load_dataset
from omnifm.engines.flower.agreed_policy import agreed_policy
from omnifm.engines.flower.certificates import make_authority
from omnifm.engines.flower.client_app import answered
from omnifm.engines.flower.client_config import read_client_config
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.flwr_env import QUIET
from omnifm.engines.flower.secure_aggregation.credentials import write_credentials
from omnifm.engines.flower.server import FlowerBackend
from omnifm.engines.flower.transport import GridTransport
from omnifm.utils.errors import DeploymentError

_LIFE = 7 * 24 * 3600.0
_POLL = 0.05


class SimulationBackend(FlowerBackend):
    """Flower's simulation, with so many clients at a time.

    Raises:
        DeploymentError: Ray is not installed.
    """

    def __init__(self, workers: int = 1) -> None:
        if importlib.util.find_spec("ray") is None:
            raise DeploymentError("Flower's simulation needs Ray: pip install 'flwr[simulation]'.")
        super().__init__(lambda settings: GridTransport(self._grid, settings.max_bytes, _LIFE))
        self._workers = workers
        self._grid: Any = None
        self._names: tuple[str, ...] = ()

    @contextmanager
    def open(self, plan: Plan, folder: Path) -> Iterator[Sequence[Callback]]:
        """Start the cluster, with the clients of the experiment."""
        files = _write_client_configs(plan, folder)
        self._names = tuple(files)
        with (
            _simulated(_client_app(list(files.values())), len(files), self._workers) as self._grid,
            super().open(plan, folder) as callbacks,
        ):
            yield callbacks

    def settings(self, plan: Plan) -> DeploySettings:
        """Return the settings of the simulation: all clients are there."""
        return replace(super().settings(plan), hospitals=self._names, wait_for=0, poll=_POLL)


class _Grid:
    """A grid of which every use fails when the simulation has."""

    def __init__(self, grid: Grid, failures: list[BaseException]) -> None:
        self._grid, self._failures = grid, failures

    def __getattr__(self, name: str) -> Any:
        if self._failures:
            raise DeploymentError(f"Flower's simulation has failed: {self._failures[0]}") from self._failures[0]
        return getattr(self._grid, name)


@contextmanager
def _simulated(app: ClientApp, clients: int, workers: int) -> Iterator[_Grid]:
    """Run the simulation in a thread, with a server app that only hands out its grid and waits for the block to end."""
    os.environ |= {**QUIET, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    from flwr.simulation import run_simulation

    given: Queue[Grid | None] = Queue()
    over, failures = Event(), list[BaseException]()
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        given.put(grid)
        over.wait()

    def simulate() -> None:
        resources: dict[str, Any] = {
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": workers},
        }
        try:
            run_simulation(server, app, clients, backend_config=resources)
        except BaseException as error:  # flwr leaves by SystemExit too
            failures.append(error)
            given.put(None)

    logging.getLogger("flwr").setLevel(logging.ERROR)  # its warning is that users should call `flwr run`
    thread = Thread(target=simulate, daemon=True)
    thread.start()
    try:
        grid = given.get()
        if grid is None:
            raise DeploymentError(f"Flower's simulation does not start: {failures[0]}") from failures[0]
        yield _Grid(grid, failures)
    finally:
        over.set()
        thread.join()


def _client_app(files: Sequence[Path]) -> ClientApp:
    """Return the app of all hospitals: each finds its file by the number of its node."""
    app = ClientApp()

    @app.query()
    def answer(message: Message, context: Context) -> Message:
        return answered(message, read_client_config(files[int(context.node_config["partition-id"])]))

    return app


def _absolute(path: str) -> str:
    return path and str(Path(path).expanduser().absolute())


def _write_client_configs(plan: Plan, folder: Path) -> dict[str, Path]:
    """Write a ``client.toml`` for each hospital of the experiment, below the run's folder."""
    first = next(iter(plan.arms.values()))
    dataset = load_dataset(first.data, first.partition, first.seed)
    # All are in one house here: there is nobody from whom a small hospital, or a long run, must be protected.
    free = {"minimum_patients": 1, "rounds_a_day": 0, "minutes": _LIFE / 60, "megabytes": 1e6, "personal": ()}
    policy = {**asdict(agreed_policy(plan)), **free}
    authority, files = make_authority("simulation"), {}
    for client in dataset.clients:
        place = (folder / "hospitals" / file_name(client.name)).absolute()
        write_credentials(place, client.name, authority)
        data = {
            "root": str(Path(first.data.root).expanduser().absolute()),
            "cache": _absolute(first.data.cache),
            "cache_limit": first.data.cache_limit,
            "client": client.name,
            "seed": first.seed,
            "sources": [asdict(cast(Any, source)) for source in first.data.sources],
        }
        content = {
            "name": client.name,
            "weights": str((folder / "init").absolute()),
            "data": data,
            "partition": {**asdict(first.partition), "split_from": _absolute(first.partition.split_from)},
            "policy": policy,
        }
        files[client.name] = place / "client.toml"
        files[client.name].write_text(to_toml(content), encoding="utf-8")
    return files
