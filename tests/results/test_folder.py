from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from comparison_folder import arm, failed_arm, write_comparison_folder
from run_folder import EVALUATION_POINTS, change_result, write_run

from omnifm.results.result_folder import POINTS, finite, is_comparison, mean, read_folder
from omnifm.utils.errors import ExperimentError


def half(name: str, seed: int, level: float, point: str, place: int) -> float:
    return 0.5


def test_arms_of_a_run_come_in_the_order_of_the_experiment(tmp_path: Path) -> None:
    run = read_folder(write_run(tmp_path / "r", {"zeta": "omnifm", "alone": "local", "beta": "fedavg"}))
    assert [arm.name for arm in run.arms] == ["zeta", "alone", "beta"]
    assert [arm.algorithm for arm in run.arms] == ["omnifm", "local", "fedavg"]
    assert [arm.kind for arm in run.arms] == ["omnifm", "baseline", "own"]


@pytest.mark.parametrize("text", ['name = "x"\nalgorithm = "fedavg"\n', 'name = "x"\n'])
def test_an_experiment_without_arms_has_one(tmp_path: Path, text: str) -> None:
    out = write_run(tmp_path / "r", {"fedavg": "fedavg"})
    (out / "experiment.toml").write_text(text)
    assert [arm.name for arm in read_folder(out).arms] == ["fedavg"]


def test_a_run_inside_the_run_is_no_arm(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"fedavg": "fedavg"})
    write_run(out / "again", {"local": "local"})
    assert [arm.name for arm in read_folder(out).arms] == ["fedavg"]


def test_arms_that_have_not_begun_or_ended_are_known(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local", "fedavg": "fedavg"})
    (out / "fedavg" / "result.json").unlink()
    with (out / "experiment.toml").open("a") as file:
        file.write('[arms.later]\nalgorithm = "omnifm"\n')
    run = read_folder(out)
    assert [arm.name for arm in run.arms] == ["local", "fedavg", "later"]
    assert [arm.name for arm in run.finished] == ["local"]
    assert [len(arm.cells[0].rounds) for arm in run.arms] == [3, 3, 0]
    assert run.arms[2].algorithm == "omnifm"


def test_what_a_run_is_about(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    (out / "local" / "experiment.toml").write_text("seed = 7\n[federation]\nparticipation = 0.5\n")
    run = read_folder(out)
    assert not run.is_comparison
    assert (run.name, run.metric, run.seeds, run.levels) == ("trial <1>", "accuracy", [7], [0.5])
    assert list(run.clients) == ["T1", "CT"]
    assert run.points == POINTS
    change_result(out / "local", test={"after_local_training": {}})
    assert list(read_folder(out).points) == ["after_local_training"]


def test_the_last_line_of_a_round_counts(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    with (out / "local" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"event": "round", "round": 3, "seconds": 9.0, "clients": {}}) + "\n")
        file.write('{"event": "round", "rou')
    rounds = read_folder(out).arms[0].cells[0].rounds
    assert [(line["round"], line["seconds"]) for line in rounds] == [(1, 1.5), (2, 1.5), (3, 9.0)]


def test_date_is_noted_or_the_age_of_the_experiment(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    run = read_folder(out)
    assert run.date == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert "started" not in run.versions
    (out / "versions.json").unlink()
    assert read_folder(out).date.timestamp() == pytest.approx((out / "experiment.toml").stat().st_mtime, abs=1)


def test_lower_is_better_for_a_loss_and_where_a_result_says_so(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    change_result(out / "local", lower_is_better=["hd95"])
    run = read_folder(out)
    assert [run.lower_is_better(metric) for metric in ("loss", "hd95", "accuracy")] == [True, True, False]


def test_cells_of_a_comparison(tmp_path: Path) -> None:
    arms = [arm("fedavg"), failed_arm("moon", "nan")]
    failed = {("fedavg", 1, 1.0): "x"}
    out = write_comparison_folder(tmp_path / "c", arms, half, seeds=(0, 1), levels=(1.0, 0.5), failed_cells=failed)
    found = read_folder(out)
    fedavg, moon = found.arms
    assert is_comparison(out)
    assert (found.is_comparison, found.metric, found.seeds, found.levels) == (True, "accuracy", [0, 1], [1.0, 0.5])
    cells = [(cell.level, cell.seed, cell.failure, bool(cell.result)) for cell in fedavg.cells]
    assert cells == [(1.0, 0, None, True), (1.0, 1, "x", False), (0.5, 0, None, True), (0.5, 1, None, True)]
    assert [cell.seed for cell in found.main_cells(fedavg)] == [0, 1]
    assert fedavg.settings == {"training.learning_rate": 0.02}
    assert (moon.failure, moon.chosen, moon.cells, moon.settings) == ("nan", None, [], {})
    assert found.finished == [fedavg]


def test_a_validation_score_that_is_not_a_number(tmp_path: Path) -> None:
    points = [{"settings": {"a.b": 1}, "validation": float("nan"), "failure": "nan"}]
    out = write_comparison_folder(tmp_path / "c", [arm("fedavg", points=points)], half)
    assert read_folder(out).arms[0].points[0]["validation"] is None


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    assert not is_comparison(tmp_path)
    with pytest.raises(ExperimentError, match=r"holds no run: there is no .*experiment\.toml"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("experiment.toml", "arms = ["),
        ("experiment.toml", f"x = {'[' * 100_000}{']' * 100_000}"),
        ("local/experiment.toml", f"x = {'[' * 100_000}{']' * 100_000}"),
        ("local/result.json", "{"),
        ("local/result.json", "[3]"),
        ("local/result.json", "[" * 100_000),
        ("versions.json", "7"),
    ],
)
def test_a_damaged_run(tmp_path: Path, name: str, text: str) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    (out / name).write_text(text)
    with pytest.raises(ExperimentError, match=r"The run in .* cannot be read"):
        read_folder(out)


@pytest.mark.parametrize(
    "text",
    ["{", "{}", '{"main_metric": "a", "seeds": [0], "levels": [1], "arms": [3]}',
     '{"main_metric": "a", "seeds": [0], "levels": [1], "arms": [{"name": "b", "chosen": 2}]}'],
)  # fmt: skip
def test_a_damaged_comparison(tmp_path: Path, text: str) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("fedavg")], half)
    (out / "comparison.json").write_text(text)
    with pytest.raises(ExperimentError, match=r"The comparison in .* cannot be read"):
        read_folder(out)


def test_finite_and_mean() -> None:
    assert [finite(v) for v in (1, 0.5, True, None, "1", float("inf"))] == [1.0, 0.5, None, None, None, None]
    assert mean([1.0, None, 2.0]) == 1.5
    assert mean([None]) is None
    assert tuple(POINTS) == EVALUATION_POINTS
