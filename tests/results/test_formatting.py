from __future__ import annotations

import math

import pytest

from omnifm.results.formatting import (
    decimal_places,
    metric_name,
    metric_title,
    number,
    p_value,
    percent,
    settings_text,
    signed,
    with_interval,
    with_spread,
)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.1234], "0.123"),
        ([0.0], "0.000"),
        ([0.02], "0.020"),
        ([0.00123456], "0.00123"),
        ([9.8765], "9.877"),
        ([9.99999], "10.00"),
        ([30.1234], "30.12"),
        ([123.456], "123.5"),
        ([12345.6], "12346"),
        ([-30.1234], "−30.12"),  # noqa: RUF001
    ],
)
def test_four_digits_at_most_three_decimals(values: list[float], text: str) -> None:
    assert number(values[0], decimal_places(values)) == text


def test_the_largest_decides_for_all() -> None:
    assert decimal_places([0.1, 30.0, None, math.nan, math.inf]) == 2
    assert decimal_places([]) == decimal_places([None]) == 3


def test_differences_have_a_sign() -> None:
    assert [signed(v) for v in (0.5, -0.5, 0.0001, -0.0001)] == ["+0.500", "−0.500", "±0.000", "±0.000"]  # noqa: RUF001
    assert signed(-0.004, 2) == "±0.00"
    assert signed(1.234, 2) == "+1.23"


def test_nothing_is_a_dash() -> None:
    assert [number(None), number(math.nan), signed(math.nan)] == ["–"] * 3  # noqa: RUF001


def test_spreads_and_intervals_stand_behind_their_number() -> None:
    assert with_spread(0.5, 0.0123) == "0.500 ± 0.012"
    assert with_spread(0.5, math.nan, 2) == "0.50"
    assert with_interval(-0.1, -0.25, 0.05, 2) == "−0.10 [−0.25, +0.05]"  # noqa: RUF001
    assert with_interval(0.1, math.nan, math.nan) == "+0.100"


def test_p_values_percents_and_settings() -> None:
    assert [p_value(0.0004), p_value(0.0126), p_value(math.nan)] == ["<0.001", "0.013", "–"]  # noqa: RUF001
    assert [percent(0.2), percent(1.0)] == ["20 %", "100 %"]
    assert settings_text({"training.learning_rate": 0.020, "moon.mu": 1, "x": "on"}) == "learning_rate 0.02, mu 1, x on"


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("accuracy", "accuracy"),
        ("macro_f1", "macro F1"),
        ("token_f1", "token F1"),
        ("auc", "AUC"),
        ("dice_whole_tumour", "Dice, whole tumour"),
        ("hd95_enhancing", "HD95, enhancing"),
        ("psnr_bicubic", "PSNR, bicubic"),
        ("accuracy_closed_frequent", "accuracy, closed frequent"),
        ("mutual_information", "mutual information"),
        ("closeness", "closeness"),
    ],
)
def test_metrics_are_written_as_people_do(metric: str, name: str) -> None:
    assert metric_name(metric) == name


def test_units_stand_behind() -> None:
    assert metric_title("psnr_bicubic") == "PSNR, bicubic (dB)"
    assert metric_title("ssim") == "SSIM"
