from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from comparison_folder import arm, failed_arm, write_comparison_folder

from omnifm.results.comparison.numbers import Summary
from omnifm.results.comparison.reader import read_comparison
from omnifm.utils.errors import ExperimentError


def score(name: str, seed: int, level: float, point: str, place: int) -> float | None:
    return None if (seed, place) == (2, 1) else 0.5 + 0.1 * seed + 0.01 * place - 0.2 * (1 - level)


def test_scores_by_seed_and_hospital(tmp_path: Path) -> None:
    arms = [arm("fedavg"), failed_arm("moon", "nan")]
    out = write_comparison_folder(
        tmp_path / "c", arms, score, levels=(1.0, 0.5), failed_cells={("fedavg", 1, 0.5): "x"}
    )
    comparison = read_comparison(out)
    nan = np.nan
    fedavg, moon = comparison.arms
    np.testing.assert_allclose(
        comparison.matrix(fedavg, "before_local_training"), [[0.5, 0.51], [0.6, 0.61], [0.7, nan]]
    )
    np.testing.assert_allclose(
        comparison.matrix(fedavg, "before_local_training", 0.5), [[0.4, 0.41], [nan, nan], [0.6, nan]]
    )
    assert np.isnan(comparison.matrix(moon, "after_local_training")).all()
    assert [a.name for a in comparison.played] == ["fedavg"]
    assert comparison.level == 1.0
    assert list(comparison.clients) == ["T1", "CT"]
    assert (moon.failure, moon.chosen, moon.cells, moon.settings) == ("nan", None, [], {})


def test_a_point_that_is_not_a_number(tmp_path: Path) -> None:
    points = [{"settings": {"a.b": 1}, "validation": float("nan"), "failure": "nan"}]
    out = write_comparison_folder(tmp_path / "c", [arm("fedavg", points=points)], score)
    assert read_comparison(out).arms[0].points[0].validation is None


def test_the_anchor_is_chosen_on_validation(tmp_path: Path) -> None:
    # "a" is better on test data, "b" (an arm of the file) on validation data.
    arms = [arm("fedavg"), arm("a", "omnifm", "omnifm"), arm("b", "own", "omnifm")]
    out = write_comparison_folder(tmp_path / "c", arms, score)
    for path in out.glob("cells/arm2/*/result.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "best": {"before_local_training": [1, 0.9]}}))
    anchor = Summary(read_comparison(out)).anchor
    assert anchor is not None
    assert anchor.name == "b"


def test_the_anchor_without_omnifm_is_the_first_that_learns_together(tmp_path: Path) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("local", "yardstick"), failed_arm("x", "y"), arm("moon")], score)
    anchor = Summary(read_comparison(out)).anchor
    assert anchor is not None
    assert anchor.name == "moon"


def test_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"holds no comparison: there is no .*comparison\.json"):
        read_comparison(tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", '{"main_metric": "accuracy", "seeds": [0], "levels": [1], "arms": [3]}'])
def test_a_damaged_comparison(tmp_path: Path, text: str) -> None:
    out = write_comparison_folder(tmp_path / "c", [arm("fedavg")], score)
    (out / "comparison.json").write_text(text)
    with pytest.raises(ExperimentError, match="cannot be read"):
        read_comparison(out)
