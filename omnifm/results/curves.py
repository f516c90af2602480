"""Curves out of the tidy frame: a metric by round, or by what the rounds have cost so far."""

from __future__ import annotations

import pandas as pd

Curves = dict[str, pd.DataFrame]
"""By arm: ``x``, ``y`` (mean over seeds), ``low`` and ``high`` (range over seeds), in order of the rounds."""


def curves(frame: pd.DataFrame, split: str, metric: str, point: str = "", cost: pd.Series | None = None) -> Curves:
    """Return a metric of each arm by round, the mean over clients; of rounds that every seed of the arm has.

    ``cost`` puts what each round cost, by arm, seed and round, in place of rounds: x is its sum so far.
    """
    rows = frame[(frame["split"] == split) & (frame["metric"] == metric) & (frame["point"] == point)]
    by_seed = rows.groupby(["arm", "seed", "round"], sort=False)["value"].mean().to_frame("y")
    by_seed["x"] = by_seed.index.get_level_values("round").astype(float)
    if cost is not None:
        total = cost.groupby(level=["arm", "seed"], sort=False).cumsum()
        by_seed["x"] = total.reindex(by_seed.index)
    found: Curves = {}
    for arm, values in by_seed.dropna().groupby(level="arm", sort=False):
        rounds = values.groupby(level="round")
        whole = rounds.size() == values.index.get_level_values("seed").nunique()
        curve = pd.DataFrame(
            {"x": rounds["x"].mean(), "y": rounds["y"].mean(), "low": rounds["y"].min(), "high": rounds["y"].max()}
        )
        if whole.any():
            found[str(arm)] = curve[whole].sort_index()
    return found


def spent(frame: pd.DataFrame, *metrics: str) -> pd.Series:
    """Return the sum of some metrics over all clients of each round, by arm, seed and round."""
    rows = frame[(frame["split"] == "train") & (frame["client"] == "") & frame["metric"].isin(metrics)]
    return rows.groupby(["arm", "seed", "round"])["value"].sum()
