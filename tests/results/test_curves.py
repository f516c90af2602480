from __future__ import annotations

from pathlib import Path

import pytest
from comparison_folder import arm, write_comparison_folder

from omnifm.results.curves import curves, spent
from omnifm.results.frame import read_results


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    def score(name: str, seed: int, level: float, point: str, place: int) -> float:
        return 0.4 + 0.2 * seed + 0.1 * place

    return write_comparison_folder(tmp_path / "c", [arm("fedavg"), arm("moon")], score, seeds=(0, 1), rounds=2)


def test_mean_over_clients_and_range_over_seeds(folder: Path) -> None:
    curve = curves(read_results(folder), "validation", "accuracy", "before_local_training")["fedavg"]
    # Final scores are 0.4 and 0.5 with seed 0, 0.6 and 0.7 with seed 1; half of that is reached after one round.
    assert curve["x"].tolist() == [1.0, 2.0]
    assert curve["y"].tolist() == pytest.approx([0.275, 0.4125])
    assert curve["low"].tolist() == pytest.approx([0.225, 0.3375])
    assert curve["high"].tolist() == pytest.approx([0.325, 0.4875])


def test_rounds_that_a_seed_lacks_are_left_out(folder: Path) -> None:
    path = next(folder.glob("cells/arm0/*s1*/metrics.jsonl"))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    found = curves(read_results(folder), "validation", "accuracy", "before_local_training")
    assert found["fedavg"]["x"].tolist() == [1.0]
    assert found["moon"]["x"].tolist() == [1.0, 2.0]


def test_cost_adds_up(folder: Path) -> None:
    frame = read_results(folder)
    cost = spent(frame, "bytes_down", "bytes_up")
    # The second arm sends 2 MB a client and round.
    assert cost["moon", 1].to_dict() == {1: 4e6, 2: 4e6}
    assert curves(frame, "validation", "accuracy", "before_local_training", cost)["moon"]["x"].tolist() == [4e6, 8e6]


def test_nothing_of_that_name_is_no_curve(folder: Path) -> None:
    assert curves(read_results(folder), "validation", "dice", "before_local_training") == {}
