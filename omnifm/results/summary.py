"""What the numbers say: means and spreads, costs, and paired differences, each a function of the tidy frame.

Every function groups by arm, level and evaluation point, so that a caller filters the frame first, if at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from omnifm.results.paired import compare_pairs, holm

SURE = 0.05
"""A corrected p below this counts as clear."""

KEY = ["arm", "level", "point"]


def of_test(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the rows of one metric on test data."""
    return frame[(frame["split"] == "test") & (frame["metric"] == metric)]


def summary(frame: pd.DataFrame, metric: str, *, lower: bool = False) -> pd.DataFrame:
    """Summarise the test scores of each arm, level and evaluation point.

    Returns:
        A frame with the columns ``seeds``; ``mean`` and ``worst``, means over seeds of the mean over clients and of the
        worst client; ``spread`` and ``worst_spread``, their standard deviations over seeds (NaN with one seed).
        ``lower`` says that a smaller value is the better one.
    """
    values = of_test(frame, metric).groupby([*KEY, "seed"], sort=False)["value"]
    by_seed = pd.DataFrame({"mean": values.mean(), "worst": values.max() if lower else values.min()})
    return by_seed.groupby(level=KEY, sort=False).agg(
        seeds=("mean", "size"), mean=("mean", "mean"), spread=("mean", "std"),
        worst=("worst", "mean"), worst_spread=("worst", "std"),
    )  # fmt: skip


def client_means(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the test score of each client, the mean over seeds: a column for each."""
    means = of_test(frame, metric).groupby([*KEY, "client"], sort=False)["value"].mean()
    return means.unstack("client", sort=False)


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what each arm and level cost, the mean over seeds.

    Returns:
        A frame with the columns ``rounds``; ``megabytes_down`` and ``megabytes_up``, of all clients in a mean round;
        ``megabytes_per_client``, of all rounds and both ways; ``seconds_per_round``, the median; ``seconds``, of all
        rounds. Megabytes are NaN where data are pooled: there the images would have to travel.
    """
    totals = frame[(frame["split"] == "train") & (frame["client"] == "")]
    wide = totals.pivot(index=["arm", "algorithm", "level", "seed", "round"], columns="metric", values="value")
    wide = wide.reindex(columns=["seconds", "bytes_down", "bytes_up"])
    clients = max(frame.loc[frame["client"] != "", "client"].nunique(), 1)
    groups = wide.groupby(level=["arm", "algorithm", "level", "seed"], sort=False)
    table = pd.DataFrame(
        {
            "rounds": groups.size(),
            "megabytes_down": groups["bytes_down"].mean() / 1e6,
            "megabytes_up": groups["bytes_up"].mean() / 1e6,
            "megabytes_per_client": (groups["bytes_down"].sum() + groups["bytes_up"].sum()) / 1e6 / clients,
            "seconds_per_round": groups["seconds"].median(),
            "seconds": groups["seconds"].sum(),
        }
    )
    table.loc[table.index.get_level_values("algorithm") == "centralised", table.filter(like="megabytes").columns] = (
        np.nan
    )
    return table.groupby(level=["arm", "level"], sort=False).mean()


def paired_differences(frame: pd.DataFrame, metric: str, base: str, *, lower: bool = False) -> pd.DataFrame:
    """Compare every arm with ``base``, paired by seed and client; the frame holds one level only.

    Returns:
        A frame by arm and evaluation point with the columns ``difference``; ``low`` and ``high``, its 95 % interval;
        ``p`` and ``p_holm``, corrected by Holm's method over all arms but sweeps and over all points; ``better`` and
        ``worse``, how many clients gain and lose; ``verdict``. A sweep has no corrected p.
    """
    wide = of_test(frame, metric).pivot(index=["arm", "kind", "point", "seed"], columns="client", values="value")
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for (arm, kind, point), scores in wide.groupby(level=["arm", "kind", "point"], sort=False):
        if arm == base or (base, point) not in wide.index.droplevel(["kind", "seed"]):
            continue
        pairs = scores.droplevel([0, 1, 2]) - wide.xs((base, point), level=("arm", "point")).droplevel("kind")
        gains = (pairs.mean() * (-1 if lower else 1)).round(6)
        counts = {"better": int((gains > 0).sum()), "worse": int((gains < 0).sum())}
        rows[arm, point] = {"kind": kind, **compare_pairs(pairs.to_numpy())._asdict(), **counts}
    columns = ["kind", "difference", "low", "high", "p", "better", "worse"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).dropna(subset=["difference"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["arm", "point"]) if rows else _NO_ROWS
    tested = table.index[(table["kind"] != "sweep") & table["p"].notna()]
    table["p_holm"] = pd.Series(holm(table.loc[tested, "p"].tolist()), index=tested, dtype=float)
    table["verdict"] = [_verdict(row, lower) for row in table.itertuples()]
    return table.drop(columns="kind")


_NO_ROWS = pd.MultiIndex.from_arrays([[], []], names=["arm", "point"])


def _verdict(row: Any, lower: bool) -> str:
    """Return how certain a difference is: clear by the corrected p, or likely by the interval alone."""
    side = "better" if (row.difference > 0) != lower else "worse"
    if row.p_holm < SURE:
        return f"clearly {side}"
    return f"likely {side}" if row.low > 0 or row.high < 0 else "not clear"
