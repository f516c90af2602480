"""The examples hold: every experiment can be read and designed, and the script does what it says."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from plugin import REGISTRIES
from small_run import omnifm, played, write_experiment

from omnifm.comparison.comparison_folder import ComparisonOptions
from omnifm.config.experiment import read_plan

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_experiment_can_be_run_and_compared(path: Path) -> None:
    plan = read_plan(path)
    assert plan.arms
    assert ComparisonOptions(algorithms="all").design(plan.document).chosen({"omnifm": 0})


@pytest.mark.parametrize("name", ["compare-small", "compare-real"])
def test_the_comparisons_tune_every_algorithm_equally(name: str) -> None:
    design = ComparisonOptions(algorithms="all").design(read_plan(EXAMPLES / f"{name}.toml").document)
    assert len(design.arms) == 17
    assert {len(arm.points) for arm in design.arms} == {2}
    assert len(design.levels) == 3


@pytest.mark.slow
@pytest.mark.process
def test_an_algorithm_of_ones_own(tmp_path: Path) -> None:
    script, out = EXAMPLES / "own_algorithm.py", tmp_path / "out"
    assert len(script.read_text(encoding="utf-8").splitlines()) < 40
    experiment = write_experiment(tmp_path, arms={}, federation={"rounds": 1}, fair={"q": 2.0})
    arguments = ["compare", str(experiment), "--algorithms", "fedavg,fair", "--seeds", "1", "--out", str(out)]
    outcome = played(script, tmp_path, *arguments)
    assert outcome.status == 0, outcome.text
    with (out / "table.csv").open(encoding="utf-8") as file:
        assert {row["arm"] for row in csv.DictReader(file)} == {"fedavg", "fair", "local", "alone"}
    assert "q = 2.0" in next(out.glob("cells/fair/*/experiment.toml")).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.process
def test_averaging_by_hand(tmp_path: Path) -> None:
    script = EXAMPLES / "minimal.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) < 70
    outcome = played(script, tmp_path)
    assert outcome.status == 0, outcome.text
    assert [line.split(":")[0] for line in outcome.text.splitlines()] == [f"round {number}" for number in range(1, 6)]


@pytest.mark.slow
@pytest.mark.process
def test_its_parameters_are_held_to(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, arms={}, fair={"p": 2.0})
    outcome = played(EXAMPLES / "own_algorithm.py", tmp_path, "run", experiment)
    assert outcome.status == 1
    assert "Unknown key 'fair.p'. Known: q." in outcome.text


@contextmanager
def known(name: str) -> Iterator[None]:
    """Let an example register what it adds, while the block lasts."""
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    before, module = [dict(known) for known in REGISTRIES], importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield
    finally:
        del sys.modules[name]
        for names, old in zip(REGISTRIES, before, strict=True):
            names.clear()
            names.update(old)


def phantom(folder: Path, **changes: Any) -> Path:
    """Write an experiment of one short round on a small phantom."""
    source = {"kind": "phantom", "patients": 12, "modalities": ["T2", "CT"]}
    document = {
        "data": {"size": 16, "sources": [source], "cache": str(folder / "cache")},
        "federation": {"rounds": 1, "evaluate": ["before_local_training"]},
        "adapter": {"grid": 7, "token_dim": 8},
        "bank": {"prototypes": 3, "min_cluster": 4},
        **changes,
    }
    (folder / "own.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    return folder / "own.toml"


def result_of(folder: Path, arm: str, *arguments: object) -> dict[str, Any]:
    outcome = omnifm("run", phantom(folder) if not arguments else arguments[0], "--workers", 1, "--out", folder / "run")
    assert outcome.status == 0, outcome.text
    return dict(json.loads((folder / "run" / arm / "result.json").read_text(encoding="utf-8")))


def test_data_of_ones_own(tmp_path: Path) -> None:
    data = {"size": 16, "sources": [{"kind": "discs", "images": 40}]}
    with known("own_data"):
        found = result_of(
            tmp_path, "fedavg", phantom(tmp_path, data=data, algorithm="fedavg", classification={"width": 8})
        )
    assert found["label_names"] == ["small", "large"]
    assert {name: one["train"] for name, one in found["clients"].items()} == {"bright": 12, "dim": 12}


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    with known("own_network"):
        found = result_of(
            tmp_path, "omnifm", phantom(tmp_path, task="my-classification", **{"my-classification": {"features": 8}})
        )
        assert "features = 8" in (tmp_path / "run/omnifm/experiment.toml").read_text(encoding="utf-8")
    assert set(found["test"]["before_local_training"]) == {"T2", "CT"}


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    with known("own_task"):
        found = result_of(tmp_path, "omnifm", phantom(tmp_path, task="lesion-size", **{"lesion-size": {"width": 8}}))
    assert found["main_metric"] == "closeness"
    assert all(0 < one["numbers"]["closeness"] <= 1 for one in found["test"]["before_local_training"].values())
    assert found["panels"]["T2"][0]["caption"].endswith("%")


def test_a_callback_of_ones_own(tmp_path: Path) -> None:
    callbacks = [{"kind": "loss-table", "below": 1000.0}]
    changes: dict[str, Any] = {"federation": {"rounds": 3, "evaluate": ["before_local_training"]}}
    with known("own_callback"):
        experiment = phantom(tmp_path, algorithm="fedavg", classification={"width": 8}, callbacks=callbacks, **changes)
        found = result_of(tmp_path, "fedavg", experiment)
    assert (found["rounds"], found["stopped"]) == (1, "every loss is below 1000.0")
    with (tmp_path / "run/losses.csv").open(encoding="utf-8") as file:
        assert [row[:3] for row in csv.reader(file)] == [["fedavg", "1", "T2"], ["fedavg", "1", "CT"]]
