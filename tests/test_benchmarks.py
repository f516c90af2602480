"""The benchmarks still run: each in its shortest form, for what it prints and not for how fast it is."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from newcomers import summary
from safetensors.numpy import save_file
from small_run import played

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

if sys.platform != "linux":
    pytest.skip("they read /proc", allow_module_level=True)


def figures(tmp_path: Path, script: str, *arguments: object) -> dict[str, Any]:
    """Run a benchmark and return what it wrote with ``--json``."""
    path = tmp_path / "figures.json"
    outcome = played(BENCHMARKS / f"{script}.py", tmp_path, *arguments, "--json", path)
    assert outcome.status == 0, outcome.text
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


STATE = """
import json, sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1])
for arm, sha in {weights}.items():
    out.joinpath(arm).mkdir(parents=True)
    out.joinpath(arm, "result.json").write_text(json.dumps({{"weights_sha256": sha}}))
sys.exit({status})
"""


def write_state(root: Path, weights: dict[str, str], status: int = 0) -> None:
    """Write a project whose every run ends with these weights, and with this exit status."""
    package = root / "omnifm"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STATE.format(weights=weights, status=status))


def same_bits(root: Path, *arguments: str) -> tuple[int, str]:
    """Compare the weights of one case of the project; return the exit status and what was printed."""
    command = [sys.executable, str(root / "benchmarks/same_bits.py"), *arguments, "--only", "study-phantom"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_same_bits(tmp_path: Path) -> None:
    root, saved = tmp_path / "project", str(tmp_path / "base.json")
    write_state(root, {"fedavg": "abc", "omnifm": "def"})
    (root / "benchmarks").mkdir()
    shutil.copy(BENCHMARKS / "same_bits.py", root / "benchmarks")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    status, text = same_bits(root, "HEAD", "--save", saved)
    assert (status, "2 compared, 0 not the same" in text) == (0, True), text
    write_state(root, {"fedavg": "abc", "omnifm": "other"})
    assert same_bits(root, "--against", saved)[0] == 1
    write_state(root, {"fedavg": "abc"})
    status, text = same_bits(root, "--against", saved)
    assert (status, text.count("missing")) == (1, 1), text
    write_state(root, {"fedavg": "abc", "omnifm": "def"}, status=3)
    status, text = same_bits(root, "--against", saved)
    assert (status, "exit status 3" in text) == (1, True), text
    trees = subprocess.run(["git", "-C", str(root), "worktree", "list"], capture_output=True, text=True, check=True)
    assert len(trees.stdout.splitlines()) == 1


def test_same_bits_leaves_out_no_example_that_needs_no_data() -> None:
    examples = BENCHMARKS.parent / "examples"
    compared = {case.example for case in runpy.run_path(str(BENCHMARKS / "same_bits.py"))["CASES"].values()}
    assert compared >= {path.stem for path in examples.glob("*.toml") if "phantom" in path.read_text(encoding="utf-8")}
    assert compared <= {path.stem for path in examples.glob("*.toml")}


def test_same_bits_reads_only_the_tensors_of_a_file(tmp_path: Path) -> None:
    sha256 = runpy.run_path(str(BENCHMARKS / "same_bits.py"))["tensors_sha256"]

    def written(value: float, name: str = "a", about: str = "x") -> str:
        save_file({name: np.array([value])}, tmp_path / "file", {"about": about})
        return str(sha256(tmp_path / "file"))

    assert written(1.0) == written(1.0, about="longer")
    assert len({written(1.0), written(2.0), written(1.0, name="b")}) == 3


@pytest.mark.slow
def test_a_thousand_odd_replies_end_no_run() -> None:
    command = [sys.executable, str(BENCHMARKS / "fuzz_replies.py"), "--count", "72", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    name, *counts = done.stdout.splitlines()[-1].split()
    refused, taken = int(counts[0]), sum(map(int, counts[1:4]))
    assert name == "all"
    assert refused + taken == 14 * 72
    assert refused > 500
    assert taken > 50


def test_aggregation(tmp_path: Path) -> None:
    found = figures(tmp_path, "aggregation", "--clients", 5, "--numbers", 1000, "--repeats", 1)
    assert found.keys() > {"mean", "median", "geometric-median", "centred-clipping"}
    assert all(line["seconds"] > 0 and line["mb"] >= 0 for line in found.values())


def test_attacks(tmp_path: Path) -> None:
    small = ["--seeds", 1, "--rounds", 1, "--patients", 10, "--size", 16, "--cache", tmp_path]
    chosen = [
        "--rule",
        "mean",
        "--rule",
        "median",
        "--attack",
        "none",
        "--attack",
        "a little",
        "--attack",
        "label flip",
    ]
    out = tmp_path / "attacks.jsonl"
    shown = []
    for _ in range(2):
        outcome = played(BENCHMARKS / "attacks.py", tmp_path, *small, *chosen, "--out", out)
        assert outcome.status == 0, outcome.text
        shown.append(outcome.text)
    assert shown[0] == shown[1]  # and nothing was run again
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 6
    assert all(0 <= line["accuracy"] <= 1 for line in lines)
    assert "| `median` |" in shown[0]


@pytest.mark.slow
def test_bank_attacks(tmp_path: Path) -> None:
    out, small = tmp_path / "bank.jsonl", ["--seeds", 1, "--rounds", 3, "--patients", 60, "--size", 16]
    chosen = ["--cache", tmp_path, "--study", "bank", "--attack", "capture, -5 x", "--out", out]
    shown = []
    for _ in range(2):
        outcome = played(BENCHMARKS / "bank_attacks.py", tmp_path, *small, *chosen)
        assert outcome.status == 0, outcome.text
        shown.append(outcome.text)
    assert shown[0] == shown[1]  # and nothing was run again
    assert "| capture, -5 x | 2 | `median` |" in shown[0]
    alone, *attacked = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert alone["accuracy"].keys() == {f"{kind}-{number}" for kind in ("T2", "FLAIR") for number in (1, 2, 3)}
    assert [line["malicious"] for line in attacked] == [1, 1, 2, 2]
    assert all(0 < line["retrieved"] < 1 and len(line["right"]) == 3 for line in attacked)
    assert [line["joined"][-1] for line in attacked[2:]] == [1, 1]  # two copies are as near to images as the originals


@pytest.mark.slow
def test_image_cache(tmp_path: Path) -> None:
    found = figures(tmp_path, "image_cache", "--images", 30, "--decoded", 10, "--size", 32)
    assert all(found[step]["ms"] > 0 and found[step]["peak"] >= found[step]["start"] for step in ("decode", "cached"))
    assert found["faster"]["cpu"] > 0


def test_newcomers_are_summed_up() -> None:
    right = {"hospital": "CT-3", "omnifm": 0.6, "fedavg": 0.4, "circles": {"CT-1": 0.6, "T2-1": 0.2}, "alike": True}
    astray = {"hospital": "T2-3", "omnifm": 0.3, "fedavg": 0.3, "circles": {"CT-1": 0.5}, "alike": False}
    hospitals = [{**right, "placed_with": ("CT-1", "CT-2")}, {**astray, "placed_with": ()}]
    assert summary([{"left_out": "hospital", "hospitals": hospitals}]) == (
        "hospital left out, 2 hospitals: omnifm 0.450, best circle 0.550, fedavg 0.350, gain +0.100 ± 0.100 (standard "
        "error); 1 were put into a circle of their modality, and 1 told that it is like them"
    )
