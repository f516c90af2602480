from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from comparison_folder import arm, write_comparison_folder
from run_folder import change_result, score, write_run

from omnifm.results.frame import COLUMNS, read_results


def only(frame: pd.DataFrame, **values: object) -> list[float]:
    """The values of the rows with these entries."""
    for column, value in values.items():
        frame = frame[frame[column] == value]
    return frame["value"].tolist()


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return read_results(write_run(tmp_path_factory.mktemp("frame") / "r", {"alone": "local", "omnifm": "omnifm"}))


def test_columns_are_those_that_are_documented(frame: pd.DataFrame) -> None:
    assert list(frame.columns) == list(COLUMNS)
    assert list(frame["arm"].unique()) == ["alone", "omnifm"]
    assert set(frame["split"]) == {"train", "validation", "test"}
    assert not frame.duplicated(list(frame.columns[:-1])).any()


def test_test_scores_stand_at_the_round_that_validation_chose(frame: pd.DataFrame) -> None:
    test = frame[(frame["split"] == "test") & (frame["metric"] == "accuracy")]
    rows = test[["arm", "kind", "level", "seed", "round", "point", "client", "value"]].values.tolist()
    assert rows[0] == ["alone", "baseline", 1.0, 7, 2, "before_local_training", "T1", 0.3]
    assert rows[-1] == [
        "omnifm",
        "omnifm",
        1.0,
        7,
        3,
        "after_local_training",
        "CT",
        score(1, 1, "after_local_training"),
    ]
    assert len(rows) == 2 * 2 * 2


def test_curves_and_training_by_hand(frame: pd.DataFrame) -> None:
    curve = only(frame, arm="alone", split="validation", point="before_local_training", client="CT", metric="accuracy")
    assert curve == pytest.approx([0.1, 0.19, 0.271])
    assert only(frame, arm="alone", split="train", client="T1", metric="loss") == pytest.approx([2, 1, 2 / 3])
    assert only(frame, arm="alone", metric="bytes_down", client="") == [2_000_000] * 3
    assert only(frame, arm="omnifm", metric="bank_entries") == [10, 20, 30]
    assert only(frame, arm="omnifm", metric="drift", client="T1") == pytest.approx([0.05, 0.1 / 3])


def test_what_is_not_a_finite_number_has_no_row(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    test = {
        "before_local_training": {"T1": {"numbers": {"accuracy": float("nan")}}, "CT": {"numbers": {"accuracy": 0.5}}}
    }
    change_result(out / "local", test=test, best={})
    frame = read_results(out)
    rows = frame[frame["split"] == "test"][["round", "point", "client", "metric", "value"]].values.tolist()
    assert rows == [[0, "before_local_training", "CT", "accuracy", 0.5]]


def test_an_evaluation_that_was_repeated_counts_once(tmp_path: Path) -> None:
    out = write_run(tmp_path / "r", {"local": "local"})
    line = {"event": "evaluation", "round": 3, "split": "validation", "point": "before_local_training"}
    with (out / "local" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({**line, "clients": {"T1": {"accuracy": 0.9}}}) + "\n")
    frame = read_results(out)
    assert only(frame, split="validation", point="before_local_training", client="T1", metric="accuracy", round=3) == [
        0.9
    ]


def test_a_comparison_has_a_row_for_each_level_and_seed(tmp_path: Path) -> None:
    def value(name: str, seed: int, level: float, point: str, place: int) -> float:
        return 0.5 + 0.1 * seed - 0.2 * (1 - level)

    out = write_comparison_folder(tmp_path / "c", [arm("fedavg")], value, ("T1",), seeds=(0, 1), levels=(1.0, 0.5))
    frame = read_results(out)
    test = frame[(frame["split"] == "test") & (frame["point"] == "before_local_training")]
    assert test[["level", "seed", "value"]].values.tolist() == [[1, 0, 0.5], [1, 1, 0.6], [0.5, 0, 0.4], [0.5, 1, 0.5]]


def test_nothing_measured_yet_is_an_empty_frame(tmp_path: Path) -> None:
    (tmp_path / "experiment.toml").write_text('algorithm = "fedavg"\n')
    frame = read_results(tmp_path)
    assert frame.empty
    assert list(frame.columns) == list(COLUMNS)
