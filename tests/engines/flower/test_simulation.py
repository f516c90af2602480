"""Flower's simulation: the experiment's own hospitals, each by the number of its node."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_grid import FakeGrid
from flwr.clientapp import ClientApp
from small_run import document, hashes, omnifm, write_experiment, write_images

from omnifm.config.experiment import make_plan
from omnifm.engines.flower import simulation
from omnifm.runs import run as runs
from omnifm.runs.backend import LocalBackend
from omnifm.utils.errors import DeploymentError

pytestmark = pytest.mark.slow

ROUNDS = {"rounds": 2, "evaluate_every": 1}


@pytest.fixture
def flower_log() -> Iterator[None]:
    log = logging.getLogger("flwr")
    level = log.level
    yield
    log.setLevel(level)


def test_the_hospitals_are_those_of_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = document(tmp_path / "data", write_images(tmp_path / "data"), "omnifm")
    content |= {"federation": ROUNDS, "partition": {"kind": "dirichlet", "clients": 2}}
    plan, out = make_plan(content), tmp_path / "deployed"

    @contextlib.contextmanager
    def simulated(app: ClientApp, clients: int, workers: int) -> Iterator[FakeGrid]:
        files = {path.parent.name: path for path in sorted(out.glob("hospitals/*/client.toml"))}
        assert (list(files), clients, workers) == (["hospital-1", "hospital-2"], 2, 3)
        yield FakeGrid(files, app)

    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: real("json" if name == "ray" else name, *more))
    monkeypatch.setattr(simulation, "_simulated", simulated)
    runs.execute(runs.create(out, plan), out, simulation.SimulationBackend(3))
    runs.execute(runs.create(tmp_path / "here", plan), tmp_path / "here", LocalBackend())
    assert hashes(out) == hashes(tmp_path / "here")
    assert list(json.loads((out / "omnifm/result.json").read_text())["clients"]) == ["hospital-1", "hospital-2"]


def test_a_simulation_that_has_failed_ends_the_run() -> None:
    failures: list[BaseException] = []
    grid = simulation._Grid(SimpleNamespace(get_nodes=lambda: ["node"]), failures)  # type: ignore[arg-type]
    assert grid.get_nodes() == ["node"]
    failures.append(RuntimeError("no memory"))
    with pytest.raises(DeploymentError, match="Flower's simulation has failed: no memory"):
        grid.get_nodes()


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "ray" else real(name, *more))
    path = write_experiment(tmp_path, federation=ROUNDS)
    outcome = omnifm("run", path, "--engine", "flower-simulation", "--out", tmp_path / "out")
    assert outcome.status == 1
    assert "Flower's simulation needs Ray: pip install 'flwr[simulation]'" in outcome.text


@pytest.mark.usefixtures("flower_log")
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.filterwarnings("ignore")
def test_on_ray_the_weights_are_the_same(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, federation=ROUNDS)
    assert omnifm("run", path, "--workers", 1, "--out", tmp_path / "here").status == 0
    outcome = omnifm("run", path, "--engine", "flower-simulation", "--workers", 2, "--out", tmp_path / "ray")
    assert outcome.status == 0, outcome.text
    assert hashes(tmp_path / "ray") == hashes(tmp_path / "here")
