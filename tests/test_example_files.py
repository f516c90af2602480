"""The examples hold: every experiment can be read and designed, and the script does what it says."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import write_experiment

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
    done = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (out / "table.csv").open(encoding="utf-8") as file:
        assert {row["arm"] for row in csv.DictReader(file)} == {"fedavg", "fair", "local", "alone"}
    assert "q = 2.0" in next(out.glob("cells/fair/*/experiment.toml")).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.process
def test_averaging_by_hand() -> None:
    script = EXAMPLES / "minimal.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) < 70
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [f"round {number}" for number in range(1, 6)]


@pytest.mark.slow
@pytest.mark.process
def test_its_parameters_are_held_to(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, arms={}, fair={"p": 2.0})
    command = [sys.executable, str(EXAMPLES / "own_algorithm.py"), "run", str(experiment)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Unknown key 'fair.p'. Known: q." in done.stderr
