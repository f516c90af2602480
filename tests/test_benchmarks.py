"""The benchmarks still run: each in its shortest form, for what it prints and not for how fast it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.process]

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

if sys.platform != "linux":
    pytest.skip("they read /proc", allow_module_level=True)


def figures(tmp_path: Path, script: str, *arguments: object) -> dict[str, Any]:
    """Run a benchmark and return what it wrote with ``--json``."""
    path = tmp_path / "figures.json"
    command = [sys.executable, BENCHMARKS / f"{script}.py", *arguments, "--json", path]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_scale(tmp_path: Path) -> None:
    small = ("--clients", 5, "--sampled", 2, "--rounds", 1, "--width", 8, "--capacities", 256, "--cache", tmp_path)
    found = figures(tmp_path, "scale", *small, "--algorithms", "omnifm")
    assert [line["sampled"] for line in found["rounds"]] == [1, 2]
    assert all(0 < line["train"] <= line["round"] and line["peak"] > 0 for line in found["rounds"])
    assert all(sizes["up"] > 0 for sizes in found["traffic"].values())
    assert found["bank"]["256"]["retrieve"] > 0


def test_peers(tmp_path: Path) -> None:
    short = ("--workload", "cnn", "--rounds", 2, "--repeats", 1, "--cache", tmp_path)
    (found,) = figures(tmp_path, "peers", *short, "--only", "ours", "--only", "floor").values()
    assert found["ours"][0]["accuracy"] > 0.1
    assert all(run["rounds"][0] > 0 and run["peak_bytes"] > 0 for (run,) in found.values())
