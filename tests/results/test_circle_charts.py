from __future__ import annotations

import math
import re
from collections import Counter

import pandas as pd
import pytest

from omnifm.results.circle_charts import circle_chart, size_chart

pytestmark = pytest.mark.usefixtures("charts_drawn")

NONE = math.nan
HOSTILE = "<b>$x_1$</b>"


def numbers(rounds: int = 3) -> pd.DataFrame:
    rows = {"T2-1": 0.0, "T2-2": 0.0, HOSTILE: 4.0, "CT-1": 4.0, "PET-1": NONE}
    table = pd.DataFrame(dict.fromkeys(range(1, rounds + 1), rows))
    table[1] = NONE
    return table


def letters(svg: str) -> list[str]:
    return re.findall(r">([^<]+)</text>", svg)


def bars(svg: str) -> Counter[str]:
    return Counter(re.findall(r'style="fill: (#\w{6})"', svg))


def test_each_client_has_a_line_and_its_circle_a_colour_and_a_number() -> None:
    svg = circle_chart(numbers())
    shown = letters(svg)
    assert {"T2-1", "T2-2", "CT-1", "PET-1", "round"} <= set(shown)
    assert [shown.count(number) for number in ("0", "4")] == [2, 2]
    assert bars(svg)["#0072b2"] == bars(svg)["#e69f00"] == 2
    assert "After round 3, circle 0: T2-1, T2-2; circle 4: &lt;b&gt;$x_1$&lt;/b&gt;, CT-1; alone: PET-1." in svg
    assert "<b>" not in svg
    assert circle_chart(numbers()) == svg


def test_a_client_that_moves_has_a_bar_for_each_circle() -> None:
    table = numbers(4)
    table.loc["T2-2", 2] = 4.0
    assert bars(circle_chart(table))["#e69f00"] == 3


def test_a_number_that_has_no_room_is_left_out() -> None:
    table = numbers(200)
    table.loc["T2-2", 2] = 7.0
    assert "7" not in letters(circle_chart(table))


@pytest.mark.parametrize("clients", [5, 64])
def test_all_clients_are_named(clients: int) -> None:
    table = pd.DataFrame({1: [NONE] * clients, 2: [n // 3 for n in range(clients)]}, [f"H{n}" for n in range(clients)])
    assert {f"H{n}" for n in range(clients)} <= set(letters(circle_chart(table)))


def test_sizes_are_stacked_up_to_all_clients() -> None:
    svg = size_chart({1: [], 2: [40, 20], 3: [30, 20, 10]}, 100)
    assert "After round 3: 30, 20, 10 of 100 hospitals." in svg
    assert {"100", "hospitals", "round"} <= set(letters(svg))
    assert len(bars(svg) & Counter(["#0072b2", "#e69f00", "#009e73"])) == 3
    assert "none of 100 hospitals" in size_chart({1: [2], 2: []}, 100)
