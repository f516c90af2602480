from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from run_folder import change_result, write_run

from omnifm.results.run_reader import finite, mean, read_run
from omnifm.utils.errors import ExperimentError


def test_arms_come_in_the_order_of_the_experiment(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "r", {"zeta": "omnifm", "alone": "local", "beta": "fedavg"}))
    assert [arm.name for arm in run.arms] == ["zeta", "alone", "beta"]
    assert [arm.algorithm for arm in run.arms] == ["omnifm", "local", "fedavg"]


@pytest.mark.parametrize("text", ['name = "x"\nalgorithm = "fedavg"\n', 'name = "x"\n'])
def test_an_experiment_without_arms_has_one(tmp_path: Path, text: str) -> None:
    out = write_run(tmp_path / "r", {"fedavg": "fedavg"})
    (out / "experiment.toml").write_text(text)
    assert [arm.name for arm in read_run(out).arms] == ["fedavg"]


def test_a_run_inside_the_run_is_no_arm(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"fedavg": "fedavg"})
    write_run(out / "again", {"local": "local"})
    assert [arm.name for arm in read_run(out).arms] == ["fedavg"]


def test_arms_that_have_not_begun_or_ended_are_known(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg"})
    (out / "fedavg" / "result.json").unlink()
    with (out / "experiment.toml").open("a") as file:
        file.write('[arms.later]\nalgorithm = "omnifm"\n')
    run = read_run(out)
    assert [(arm.name, arm.finished) for arm in run.arms] == [("local", True), ("fedavg", False), ("later", False)]
    assert run.arms[1].curve("before_local_training", "accuracy", "CT") == [(r, 1 - 0.9**r) for r in (1, 2, 3)]
    assert run.arms[2].algorithm == "omnifm"
    assert run.arms[2].curve("before_local_training", "accuracy") == []


def test_scores_and_curves(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "r", {"local": "local"}))
    arm = run.arms[0]
    assert arm.scores("before_local_training", "accuracy") == {"T1": 0.3, "CT": 0.311}
    assert arm.metrics() == ["accuracy", "auc", "loss"]
    assert arm.loss() == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    assert (arm.chosen_round("before_local_training"), arm.chosen_round("after_local_training")) == (2, 3)
    assert arm.table("before_local_training", "CT", "confusion") == [[5, 2, 0], [1, 4, 0], [0, 0, 0]]
    assert arm.table("before_local_training", "CT", "lesions") is None
    assert (run.main_metric, run.seeds, list(run.clients)) == ("accuracy", [7], ["T1", "CT"])


def test_a_client_without_the_metric_is_left_out(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    test = {
        "before_local_training": {"T1": {"numbers": {"accuracy": float("nan")}}, "CT": {"numbers": {"accuracy": 0.5}}}
    }
    change_result(out / "local", test=test)
    arm = read_run(out).arms[0]
    assert arm.scores("before_local_training", "accuracy") == {"CT": 0.5}
    assert arm.scores("after_local_training", "accuracy") == {}


def test_the_last_line_of_a_round_counts(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    again = {"event": "round", "round": 3, "seconds": 9.0, "clients": {"T1": {"loss": 0.25}}}
    with (out / "local" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(again) + "\n")
        file.write('{"event": "round", "rou')
    arm = read_run(out).arms[0]
    assert [line["round"] for line in arm.rounds] == [1, 2, 3]
    assert arm.loss()[-1] == (3, 0.25)


def test_date_is_noted_or_the_age_of_the_experiment(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    run = read_run(out)
    assert run.date == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert "started" not in run.versions
    (out / "versions.json").unlink()
    assert read_run(out).date.timestamp() == pytest.approx((out / "experiment.toml").stat().st_mtime, abs=1)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="holds no run"):
        read_run(tmp_path)
    (tmp_path / "experiment.toml").write_text("arms = [")
    with pytest.raises(ExperimentError, match="cannot be read"):
        read_run(tmp_path)


def test_finite_and_mean() -> None:
    assert [finite(v) for v in (1, 0.5, True, None, "1", float("inf"))] == [1.0, 0.5, None, None, None, None]
    assert mean([1.0, None, 2.0]) == 1.5
    assert mean([None]) is None
