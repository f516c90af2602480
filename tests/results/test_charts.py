from __future__ import annotations

import math
import re

import pandas as pd
import pytest

from omnifm.results.charts import GREY, arm_styles, dot_chart, forest_chart, heat_maps, label, line_chart, small_charts
from omnifm.results.result_folder import ArmRecord

pytestmark = pytest.mark.usefixtures("charts_drawn")

HOSTILE = "<b>$x_1$</b> & \x07"


def arms(*algorithms: str) -> list[ArmRecord]:
    return [ArmRecord(name=f"{a}{place}", algorithm=a, kind="own", cells=[]) for place, a in enumerate(algorithms)]


def curve(*values: float) -> pd.DataFrame:
    x = range(1, len(values) + 1)
    return pd.DataFrame({"x": x, "y": values, "low": values, "high": values}, index=x)


def letters(svg: str) -> list[str]:
    return re.findall(r">([^<]+)</text>", svg)


STYLES = {name: {"color": "#2f8be0", "marker": "o", "linestyle": "-"} for name in ("a", HOSTILE)}
CHARTS = {
    "line": lambda: line_chart({"a": curve(0.1, 0.3), HOSTILE: curve(0.2)}, STYLES, "round", "accuracy", {"a": 2}),
    "small": lambda: small_charts({HOSTILE: {"a": curve(0.1, 0.2)}, "c": {}}, STYLES, "round", "accuracy"),
    "dot": lambda: dot_chart(
        pd.DataFrame({"a": [0.5, math.nan], HOSTILE: [0.1, 0.2]}, index=["T1", HOSTILE]), STYLES, "x"
    ),
    "heat": lambda: heat_maps({HOSTILE: pd.DataFrame([[3, 1], [0, 0]], ["p", HOSTILE], ["p", "q"])}, "truth", "found"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_belongs_into_a_page(name: str) -> None:
    svg = CHARTS[name]()
    assert svg.startswith('<svg class="chart" role="img" aria-label="')
    assert "<b>" not in svg
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert not re.findall(r"<g id=", svg)
    assert "<metadata" not in svg
    assert CHARTS[name]() == svg  # the same input, the same bytes


def test_grey_is_for_clients_alone_and_no_two_arms_look_similar() -> None:
    styles = arm_styles(arms("local", *["fedavg"] * 16, "local"))
    assert styles["local0"]["color"] == styles["local17"]["color"] == GREY
    assert GREY not in {style["color"] for name, style in styles.items() if name.startswith("fedavg")}
    assert len({str(style) for style in styles.values()}) == 18


def test_a_line_chart_rings_the_chosen_round() -> None:
    lines = {"a": curve(0.1, 0.3, 0.2)}
    plain, ringed = (line_chart(lines, STYLES, "round", "accuracy", chosen) for chosen in ({}, {"a": 2}))
    assert ringed.count("<use") == plain.count("<use") + 1
    assert "accuracy by round. a: 0.1 to 0.2" in plain
    assert {"round", "accuracy", "a"} <= set(letters(plain))


def test_small_charts_have_one_panel_each_before_the_others() -> None:
    others = {name: curve(0.5, 0.6) for name in ("a", "b", "c")}
    svg = small_charts({"a": {"a": curve(0.1, 0.2)}, "b": {"a": curve(0.3, 0.4)}}, STYLES, "MB", "accuracy", others)
    assert {"a", "b", "MB"} <= set(letters(svg))
    assert svg.count(f"stroke: {GREY}; stroke-opacity: 0.6") == 2 * len(others)
    assert svg.count("fill-opacity: 0.2") == 1  # the curve that is called as its panel


def test_a_forest_plot_fills_what_is_clear() -> None:
    rows = pd.DataFrame(
        {
            "difference": [-0.1, 0.05],
            "low": [-0.2, math.nan],
            "high": [-0.01, math.nan],
            "verdict": ["clearly worse", "not clear"],
        },
        index=["a<b", "c"],
    )
    svg = forest_chart(rows, "difference", (-0.3, 0.3))
    assert "difference: a&lt;b -0.100; c +0.050" in svg
    assert "a&lt;b" in letters(svg)
    assert len(re.findall(r"<use [^>]*fill: #2f8be0", svg)) == 1


def test_heat_maps_write_counts_unless_they_are_many() -> None:
    small = heat_maps({"T1": pd.DataFrame([[3, 1], [0, 2]], ["p", "q"], ["p", "q"])}, "truth", "found")
    assert letters(small).count("3") == 1
    names = [str(place) for place in range(20)]
    assert "7777" not in letters(heat_maps({"T1": pd.DataFrame(7777, names, names)}, "truth", "found"))


def test_labels_are_short_and_printable() -> None:
    assert label("a\x07b\n c") == "a b c"
    assert label("x" * 30) == "x" * 23 + "…"
