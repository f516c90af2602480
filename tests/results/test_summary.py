from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from omnifm.results.frame import COLUMNS
from omnifm.results.summary import client_means, costs, paired_differences, summary

Value = Callable[[str, int, int], float | None]


def scores(
    value: Value, arms: tuple[str, ...] = ("a", "b"), seeds: int = 3, clients: int = 2, **more: Any
) -> pd.DataFrame:
    """Test scores: of each arm, seed and client what ``value`` says, None for no row."""
    rows = [
        {"arm": arm, "algorithm": arm, "kind": "own", "level": 1.0, "seed": seed, "round": 1,
         "point": "before_local_training", "split": "test", "client": f"c{client}", "metric": "accuracy",
         "value": found, **more}
        for arm in arms for seed in range(seeds) for client in range(clients)
        if (found := value(arm, seed, client)) is not None
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def plain(arm: str, seed: int, client: int) -> float:
    """Seeds differ by 0.01, the second client is 0.10 better, the second arm 0.2."""
    return 0.5 + 0.01 * seed + 0.1 * client + (0.2 if arm == "b" else 0.0)


def test_means_spreads_and_worst_by_hand() -> None:
    row = summary(scores(plain), "accuracy").loc[("a", 1.0, "before_local_training")]
    # Means of the seeds: 0.55, 0.56, 0.57; worst clients 0.50, 0.51, 0.52.
    assert row.to_dict() == pytest.approx(
        {"seeds": 3, "mean": 0.56, "spread": 0.01, "worst": 0.51, "worst_spread": 0.01}
    )


def test_the_worst_client_has_the_largest_loss() -> None:
    assert summary(scores(plain), "accuracy", lower=True).loc[
        ("a", 1.0, "before_local_training"), "worst"
    ] == pytest.approx(0.61)


def test_one_seed_has_no_spread() -> None:
    row = summary(scores(plain, seeds=1), "accuracy").loc[("b", 1.0, "before_local_training")]
    assert (row["seeds"], row["mean"]) == (1, pytest.approx(0.75))
    assert np.isnan(row["spread"])


def test_a_missing_client_is_left_out_of_its_mean() -> None:
    frame = scores(lambda arm, seed, client: None if (seed, client) == (2, 1) else plain(arm, seed, client))
    # Means of the seeds: 0.55, 0.56 and 0.52, of one client.
    assert summary(frame, "accuracy").loc[("a", 1.0, "before_local_training"), "mean"] == pytest.approx(1.63 / 3)


def test_levels_points_and_metrics_are_kept_apart() -> None:
    parts = [scores(plain), scores(lambda *_: 0.9, level=0.5), scores(lambda *_: 0.1, point="after_local_training"),
             scores(lambda *_: 7.0, metric="loss"), scores(lambda *_: 8.0, split="validation")]  # fmt: skip
    table = summary(pd.concat(parts), "accuracy")["mean"]
    assert table["a"].to_dict() == pytest.approx(
        {(1.0, "before_local_training"): 0.56, (0.5, "before_local_training"): 0.9, (1.0, "after_local_training"): 0.1}
    )


def test_clients_are_columns() -> None:
    table = client_means(scores(plain), "accuracy")
    assert list(table.columns) == ["c0", "c1"]
    np.testing.assert_allclose(table, [[0.51, 0.61], [0.71, 0.81]])


def test_differences_by_hand() -> None:
    table = paired_differences(scores(plain), "accuracy", "a")
    assert list(table.index) == [("b", "before_local_training")]
    row = table.iloc[0]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.2, 0.2, 0.2))
    assert (row["better"], row["worse"], row["verdict"]) == (2, 0, "clearly better")
    found = paired_differences(scores(plain), "accuracy", "a", lower=True).iloc[0]
    assert found[["better", "worse", "verdict"]].tolist() == [0, 2, "clearly worse"]


def test_pairs_are_matched_by_seed_and_client() -> None:
    def value(arm: str, seed: int, client: int) -> float | None:
        return None if arm == "b" and (seed, client) == (1, 0) else plain(arm, seed, client) + 0.3 * client

    # Unmatched, the mean difference would be above 0.2: the pair that is missing is one of the worse client.
    assert paired_differences(scores(value), "accuracy", "a").iloc[0]["difference"] == pytest.approx(0.2)


def wavering(arm: str, seed: int, client: int) -> float:
    noise = {
        "a": 0.0,
        "b": 0.01 + (0.1 if (seed + client) % 2 else -0.1),
        "c": 0.02 + 0.001 * ((3 * seed + client) % 5),
    }
    return 0.5 + noise[arm]


def test_a_difference_within_its_interval_is_not_clear() -> None:
    table = paired_differences(scores(wavering, ("a", "b", "c"), clients=5), "accuracy", "a")
    assert table["verdict"].tolist() == ["not clear", "clearly better"]
    assert table.loc[("b", "before_local_training"), "low"] < 0 < table.loc[("b", "before_local_training"), "high"]


def test_holm_corrects_over_arms_and_points_but_not_over_sweeps() -> None:
    both = [
        scores(wavering, ("a", "b", "c"), clients=5, point=point)
        for point in ("before_local_training", "after_local_training")
    ]
    sweep = scores(wavering, ("b",), clients=5, kind="sweep").assign(arm="swept")
    table = paired_differences(pd.concat([*both, sweep]), "accuracy", "a")
    # Of four tests the smallest p is multiplied by four, and the next, equal one, by no less.
    np.testing.assert_allclose(table.loc["c", "p_holm"], 4 * table.loc["c", "p"])
    assert table.loc["swept", "p_holm"].isna().all()
    assert table.loc["swept", "difference"].notna().all()


def test_an_interval_without_zero_is_likely_where_the_corrected_p_is_not_small() -> None:
    arms = ("a", *(f"b{place}" for place in range(30)))
    noise = (0.03, 0.01, 0.05, 0.02, 0.04)
    frame = scores(lambda arm, seed, client: 0.5 if arm == "a" else 0.5 + noise[client], arms, seeds=1, clients=5)
    assert set(paired_differences(frame, "accuracy", "a")["verdict"]) == {"likely better"}


def test_one_pair_has_a_difference_only() -> None:
    row = paired_differences(scores(plain, seeds=1, clients=1), "accuracy", "a").iloc[0]
    assert row["difference"] == pytest.approx(0.2)
    assert row[["low", "high", "p", "p_holm"]].isna().all()
    assert row["verdict"] == "not clear"


def test_without_the_base_there_is_nothing_to_compare_with() -> None:
    assert paired_differences(scores(plain), "accuracy", "gone").empty
    assert paired_differences(scores(plain, ("a",)), "accuracy", "a").empty


def test_costs_by_hand() -> None:
    per_round = {"seconds": (1.0, 2.0, 6.0), "bytes_down": (3e6, 3e6, 3e6), "bytes_up": (1e6, 1e6, 4e6)}
    rows = [
        {"arm": algorithm, "algorithm": algorithm, "kind": "own", "level": 1.0, "seed": 0, "round": place + 1,
         "point": "", "split": "train", "client": "", "metric": metric, "value": value}
        for algorithm in ("fedavg", "centralised")
        for metric, values in per_round.items()
        for place, value in enumerate(values)
    ]  # fmt: skip
    frame = pd.concat([pd.DataFrame(rows, columns=list(COLUMNS)), scores(plain, ("fedavg",))])
    table = costs(frame).droplevel("level")
    assert table.loc["fedavg"].to_dict() == pytest.approx(
        {
            "rounds": 3,
            "megabytes_down": 3,
            "megabytes_up": 2,
            "megabytes_per_client": 7.5,
            "seconds_per_round": 2,
            "seconds": 9,
        }
    )
    assert table.loc["centralised", "seconds"] == 9
    assert np.isnan(table.loc["centralised", "megabytes_per_client"])  # the images would have to travel
