"""Two hospitals and a server as real Flower processes on this machine, with TLS and node keys."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest
import tomli_w
from fake_grid import write_client_config
from plugin import installed, write_plugin
from small_run import document, hashes, write_images

from omnifm.config.experiment import make_plan
from omnifm.engines.flower.local_deployment import LocalDeployment, wait_until
from omnifm.runs import run as runs
from omnifm.runs.backend import LocalBackend

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="starts and kills groups of processes"),
]


def free_ports(count: int) -> int:
    """Return the first of so many ports in a row that are free."""
    for first in range(19040, 19100, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no ports are free")


def test_over_the_network_the_weights_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = write_plugin(tmp_path / "plugin")  # an algorithm that the processes know by an entry point
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")]))
    folders = {"a": "CT", "b": "MRI"}
    sources = write_images(tmp_path / "data", folders)
    content = {**document(tmp_path / "data", sources, "omnifm"), "omnifm": {"base": "fairest"}}
    content["federation"] = {"rounds": 2, "evaluate_every": 2, "evaluate": ["before_local_training"]}
    content["deploy"] = {"hospitals": ["CT", "MRI"], "deadline": 120.0, "poll": 0.2}
    files = {
        source["modality"]: write_client_config(
            tmp_path / "hospitals",
            source["modality"],
            data={"root": str(tmp_path / "data"), "sources": [source]},
            policy={
                "tasks": ["*"],
                "algorithms": ["omnifm", "fairest"],
                "min_cluster": 1,
                "minimum_patients": 1,
            },
        )
        for source in sources
    }
    out = tmp_path / "deployed"
    with LocalDeployment(tmp_path / "network", files, free_ports(3)) as town:
        town.start_server()
        for name in files:
            town.start_client(name)
        run = town.submit(tomli_w.dumps(content), out)
        # What the server prints is followed until the SuperLink ends, so that the run's end is told by its file.
        wait_until(lambda: (out / "report.html").exists() or run.poll() not in (None, 0), "it has not ended", 240)
        said = town.log("run")
    with installed(plugin):
        plan = make_plan(content)
        runs.execute(runs.create(tmp_path / "here", plan), tmp_path / "here", LocalBackend())
    assert hashes(out) == hashes(tmp_path / "here"), said
    answers = [json.loads(line) for line in (out / "deploy.jsonl").read_text().splitlines()]
    rounds = [line["round"] for line in answers if line["event"] == "answer" and line["client"] == "CT"]
    assert rounds == [1, 2, 3, 3]  # trained in two rounds, judged after them, tested: a message each
    assert not list(out.rglob("*.png"))
    assert list((tmp_path / "hospitals/CT/state/hospitals/CT/runs").rglob("*.safetensors"))
