from __future__ import annotations

import json
from pathlib import Path

import pytest
from comparison_folder import arm, failed_arm, write_comparison_folder
from run_folder import change_result, write_run

from omnifm.results.findings import read_findings


def flat(name: str, seed: int, level: float, point: str, place: int) -> float | None:
    return 0.5 + 0.1 * seed + 0.01 * place


def test_the_anchor_is_chosen_on_validation_data(tmp_path: Path) -> None:
    # "a" comes first and is as good on test data; "b" (an arm of the file) is better on validation data.
    arms = [arm("fedavg"), arm("a", "omnifm", "omnifm"), arm("b", "own", "omnifm")]
    out = write_comparison_folder(tmp_path / "c", arms, flat)
    assert read_findings(out).anchor == "a"
    for path in out.glob("cells/arm2/*/result.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "best": {"before_local_training": [1, 0.9]}}))
    assert read_findings(out).anchor == "b"


def test_the_anchor_without_omnifm_is_the_first_federated_arm(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("local", "baseline"), failed_arm("x", "y"), arm("moon")], flat)
    assert read_findings(out).anchor == "moon"
    out = write_comparison_folder(tmp_path / "d", [arm("local", "baseline")], flat)
    assert read_findings(out).anchor is None


def test_arms_of_a_comparison_stand_kind_by_kind(tmp_path: Path) -> None:
    arms = [arm("local", "baseline"), arm("s", "sweep"), arm("fedavg"), arm("x", "new kind"), arm("omnifm", "omnifm")]
    found = read_findings(write_comparison_folder(tmp_path / "c", arms, flat))
    assert [row.name for row in found.rows] == ["x", "omnifm", "fedavg", "local"]
    assert [row.name for row in found.sweeps] == ["s"]
    assert [row.name for row in found.federated] == ["fedavg", "omnifm"]


def test_baselines_are_the_arms_whose_clients_train_alone(tmp_path: Path) -> None:
    arms = [arm("local", "baseline"), arm("alone", "baseline", "local"), arm("all", "baseline", "centralised")]
    found = read_findings(write_comparison_folder(tmp_path / "c", [*arms, arm("fedavg")], flat))
    assert found.baselines == ["local", "alone"]
    assert list(found.comparisons) == ["local", "alone", "fedavg"]
    run = read_findings(write_run(tmp_path / "r", {"a": "fedavg", "b": "local", "c": "centralised"}))
    assert run.baselines == ["b"]
    assert [row.name for row in run.federated] == ["a"]


def test_notes_say_what_failed_and_are_shared(tmp_path: Path) -> None:
    arms = [
        arm("a", about="what both are"),
        arm("b", about="what both are"),
        failed_arm("c", "It broke."),
        arm("d"),
        arm("e"),
    ]
    failed = {("d", 1, 1.0): "Broken.", ("d", 2, 0.5): "Worse."}
    found = read_findings(write_comparison_folder(tmp_path / "c", arms, flat, levels=(1.0, 0.5), failed_cells=failed))
    assert found.notes == {
        "a": "(1) what both are",
        "b": "(1) what both are",
        "c": "(2) failed: It broke",
        "d": "(3) seed 1 failed: Broken; seed 2 at 50 % participation failed: Worse",
    }


def test_notes_say_what_is_missing_or_ended_early(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("a")], flat)
    next(iter(out.glob("cells/arm0/*s2*/result.json"))).unlink()
    assert read_findings(out).notes == {"a": "(1) seed 2 not run yet"}
    run = write_run(tmp_path / "r", {"a": "fedavg"})
    change_result(run / "a", rounds=3, stopped="it was enough.")
    assert read_findings(run).notes == {"a": "(1) seed 7 ended early, after round 3, as it was enough"}


def test_the_level_of_the_main_tables_is_the_experiments_own(tmp_path: Path) -> None:
    def lower(name: str, seed: int, level: float, point: str, place: int) -> float:
        return level / 2

    found = read_findings(write_comparison_folder(tmp_path / "c", [arm("a")], lower, levels=(0.8, 0.2)))
    assert found.scores["mean"].tolist() == pytest.approx([0.4, 0.4])
    assert found.levels["mean"].tolist() == pytest.approx([0.4, 0.4, 0.1, 0.1])


def test_an_unfinished_run_has_the_metric_of_its_log(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"a": "fedavg"})
    (out / "a" / "result.json").unlink()
    assert (read_findings(out).metric, read_findings(out).rows) == ("accuracy", [])
